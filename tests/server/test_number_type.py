"""In which number type a model is computed on a CPU that has no instructions for bfloat16."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from transformers import PretrainedConfig

from berth_inference import loading
from berth_inference.engine.batch import fusion
from server.kernels import needs_kernels
from server.model_zoo import make_model

# Heads of 32 numbers, which the C has tiles for.
FITS: dict[str, Any] = {"hidden_size": 128, "intermediate_size": 192}


def settled(
    monkeypatch: pytest.MonkeyPatch, model: Any, *, instructions: bool = False, c: bool = True
) -> torch.dtype:
    """On a processor with or without `instructions` for bfloat16, for which Berth's `c` is or is not the fastest."""
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: instructions)
    monkeypatch.setattr(fusion, "native_pays", lambda: c)
    found: torch.dtype = loading._in_a_fast_number_type(model).dtype
    return found


@needs_kernels
def test_a_model_whose_layers_are_all_there_in_c_stays_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settled(monkeypatch, make_model("llama", "bfloat16", **FITS)) is torch.bfloat16


@pytest.mark.parametrize(
    ("architecture", "changes"),
    [
        pytest.param("gpt-neox", FITS, id="a family without fused layers"),
        pytest.param("gemma2", {**FITS, "head_dim": 32}, id="attention that is not there in C"),
        pytest.param("llama", {}, id="heads that fit no tile"),
        pytest.param("llama", {**FITS, "vocab_size": 97}, id="logits that fit no tile"),
    ],
)
def test_a_model_of_which_a_part_would_be_slow_is_made_float32_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    architecture: str,
    changes: dict[str, Any],
) -> None:
    caplog.set_level(logging.INFO)
    model = make_model(architecture, "bfloat16", **changes)
    assert settled(monkeypatch, model) is torch.float32
    assert "computed in float32" in caplog.text


def test_without_the_c_every_model_is_made_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settled(monkeypatch, make_model("llama", "bfloat16", **FITS), c=False) is torch.float32


def test_with_instructions_for_bfloat16_every_model_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model("gpt-neox", "bfloat16")
    assert settled(monkeypatch, model, instructions=True, c=False) is torch.bfloat16


@pytest.mark.parametrize("on_gpu", [False, True])
@pytest.mark.parametrize(
    ("asked", "stored", "on_cpu", "on_a_gpu"),
    [
        ("auto", torch.bfloat16, torch.bfloat16, torch.bfloat16),
        ("auto", torch.float16, torch.float32, torch.float16),
        ("auto", torch.float32, torch.float32, torch.float32),
        ("auto", None, torch.float32, torch.float32),
        ("bfloat16", torch.float32, torch.bfloat16, torch.bfloat16),
        ("float16", torch.float32, torch.float16, torch.float16),
    ],
)
def test_weights_are_loaded_as_asked_or_stored_but_never_as_float16_on_a_cpu_unasked(
    asked: str, stored: torch.dtype | None, on_cpu: torch.dtype, on_a_gpu: torch.dtype, on_gpu: bool
) -> None:
    config = PretrainedConfig(dtype=stored)
    assert loading._dtype(asked, config, on_gpu=on_gpu) is (on_a_gpu if on_gpu else on_cpu)
