"""Which linear layers take the places of a model's own, and when none do."""

from __future__ import annotations

import copy
import logging
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from berth_inference.engine.batch import native_linear, packing
from berth_inference.engine.batch.native_linear import NativeLinear, native_pays
from berth_inference.engine.batch.packed_linear import PackedLinear, can_pack
from berth_inference.engine.batch.packing import pack
from server.kernels import needs_kernels

# What computes bfloat16 where Berth's own do not: on a processor without AVX-512, oneDNN does not either.
OTHERS = PackedLinear if can_pack(torch.bfloat16) else torch.nn.Linear


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4
    )
    return LlamaForCausalLM(config).eval().to(torch.bfloat16)


def kinds(model: Any) -> set[type]:
    return {type(module) for module in model.modules()} & {torch.nn.Linear, NativeLinear, PackedLinear}


@needs_kernels
@pytest.mark.parametrize("pays", [True, False])
def test_layers_are_berth_s_own_where_these_pay_and_onednn_s_or_the_model_s_elsewhere(
    model: Any, monkeypatch: pytest.MonkeyPatch, pays: bool
) -> None:
    monkeypatch.setattr(packing, "native_pays", lambda: pays)
    packed = copy.deepcopy(model)
    assert pack(packed) == (15 if pays or OTHERS is PackedLinear else 0)
    assert kinds(packed) == {NativeLinear if pays else OTHERS}
    prompt = torch.arange(40)[None]
    with torch.inference_mode():
        expected, found = (one(prompt).logits.float() for one in (model, packed))
    assert float((found - expected).abs().max()) < 0.1 * float(expected.abs().max())


@needs_kernels
def test_a_layer_of_a_size_that_does_not_fit_is_onednn_s_or_its_own_beside_others_that_fit(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "native_pays", lambda: True)
    changed = copy.deepcopy(model)
    changed.resize_token_embeddings(97)
    assert pack(changed) == (15 if OTHERS is PackedLinear else 14)
    assert type(changed.lm_head) is OTHERS
    assert type(changed.model.layers[0].self_attn.q_proj) is NativeLinear


@needs_kernels
def test_layers_that_compute_something_else_leave_the_model_to_others_and_say_so(
    model: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(packing, "native_pays", lambda: True)
    monkeypatch.setattr(
        native_linear,
        "product",
        lambda states, weights, _: torch.zeros(len(states), 16 * len(weights), dtype=torch.bfloat16),
    )
    packed = copy.deepcopy(model)
    assert pack(packed) == (15 if OTHERS is PackedLinear else 0)
    assert kinds(packed) == {OTHERS}
    assert "linear layers are not computed by C, which is slower: _Differs: a layer of" in caplog.text


@needs_kernels
def test_float32_is_onednn_s(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "native_pays", lambda: True)
    packed = copy.deepcopy(model).float()
    assert pack(packed) == 15
    assert kinds(packed) == {PackedLinear}


def test_where_the_library_cannot_be_used_the_log_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def absent() -> None:
        raise native_linear.Unavailable("it is not there")

    monkeypatch.setattr(native_linear, "load", absent)
    caplog.set_level(logging.INFO)
    assert not native_pays.__wrapped__()
    assert "linear layers are oneDNN's: it is not there" in caplog.text


@needs_kernels
def test_where_onednn_computes_no_bfloat16_nothing_is_timed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(native_linear, "can_pack", lambda _: False)
    monkeypatch.setattr(native_linear, "_fastest", None)
    caplog.set_level(logging.INFO)
    assert native_pays.__wrapped__()
    assert "linear layers are Berth's own: oneDNN computes no bfloat16" in caplog.text


class _Packed(torch.nn.Module):
    """In place of oneDNN's, which not every processor can pack."""

    def __init__(self, _: torch.nn.Linear) -> None:
        super().__init__()


@needs_kernels
@pytest.mark.parametrize("slower", [NativeLinear, _Packed])
def test_what_is_faster_over_all_rows_is_chosen(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, slower: type
) -> None:
    def fastest(_states: torch.Tensor, *layers: torch.nn.Module) -> list[float]:
        return [2.0 if type(layer) is slower else 1.0 for layer in layers]

    monkeypatch.setattr(native_linear, "can_pack", lambda _: True)
    monkeypatch.setattr(native_linear, "PackedLinear", _Packed)
    monkeypatch.setattr(native_linear, "_fastest", fastest)
    caplog.set_level(logging.INFO)
    assert native_pays.__wrapped__() is (slower is _Packed)
    assert f"{0.5 if slower is NativeLinear else 2.0:.2f} times as fast for 16 rows" in caplog.text
