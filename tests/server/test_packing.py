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

pytestmark = pytest.mark.skipif(
    not can_pack(torch.bfloat16), reason="oneDNN computes no bfloat16 on this processor"
)


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
def test_layers_are_berth_s_own_where_these_pay_and_onednn_s_elsewhere(
    model: Any, monkeypatch: pytest.MonkeyPatch, pays: bool
) -> None:
    monkeypatch.setattr(packing, "native_pays", lambda: pays)
    packed = copy.deepcopy(model)
    assert pack(packed) == 15
    assert kinds(packed) == {NativeLinear if pays else PackedLinear}
    prompt = torch.arange(40)[None]
    with torch.inference_mode():
        expected, found = (one(prompt).logits.float() for one in (model, packed))
    assert float((found - expected).abs().max()) < 0.1 * float(expected.abs().max())


@needs_kernels
def test_a_layer_of_a_size_that_does_not_fit_is_onednn_s_beside_others_that_fit(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "native_pays", lambda: True)
    changed = copy.deepcopy(model)
    changed.resize_token_embeddings(97)
    assert pack(changed) == 15
    assert type(changed.lm_head) is PackedLinear
    assert type(changed.model.layers[0].self_attn.q_proj) is NativeLinear


@needs_kernels
def test_layers_that_compute_something_else_leave_the_model_to_onednn_and_say_so(
    model: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(packing, "native_pays", lambda: True)
    monkeypatch.setattr(
        native_linear,
        "product",
        lambda states, weights, _: torch.zeros(len(states), 16 * len(weights), dtype=torch.bfloat16),
    )
    packed = copy.deepcopy(model)
    assert pack(packed) == 15
    assert kinds(packed) == {PackedLinear}
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
@pytest.mark.parametrize("slower", [NativeLinear, PackedLinear])
def test_what_is_faster_over_all_rows_is_chosen(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, slower: type
) -> None:
    def fastest(_states: torch.Tensor, *layers: torch.nn.Module) -> list[float]:
        return [2.0 if type(layer) is slower else 1.0 for layer in layers]

    monkeypatch.setattr(native_linear, "_fastest", fastest)
    caplog.set_level(logging.INFO)
    assert native_pays.__wrapped__() is (slower is PackedLinear)
    assert f"{0.5 if slower is NativeLinear else 2.0:.2f} times as fast for 16 rows" in caplog.text
