"""Decoder layers in C: the logits of the library's layers, and the same to the bit alone and in any batch."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
import torch

from berth_inference.engine import GenerationRequest
from berth_inference.engine.batch import fusion, native_layer, packing
from berth_inference.engine.batch.fused_layer import FusedLayer
from berth_inference.engine.batch.fusion import fuse
from berth_inference.engine.batch.native_layer import NativeLayer
from berth_inference.engine.batch.packing import pack
from berth_inference.engine.batch.rope import RopeRegimes
from berth_inference.engine.batch.runner import Runner
from berth_inference.engine.batch.scheduler import Regime
from berth_inference.kernels import attention, pointwise
from server.engine_requests import answered
from server.kernels import needs_kernels
from server.model_zoo import ARCHITECTURES, CONTEXT, VOCABULARY, make_model, make_varied_model
from server.running_engine import running

pytestmark = [needs_kernels, pytest.mark.thorough]

# Sizes that the C has tiles for: heads of 32 numbers, which turn whole.
SIZES: dict[str, Any] = {"hidden_size": 128, "intermediate_size": 192}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", SIZES),
    "llama, dynamic RoPE": ("llama-dynamic-rope", SIZES),
    "llama, biases": ("llama", {**SIZES, "attention_bias": True, "mlp_bias": True}),
    "mistral, sliding": ("mistral-sliding", SIZES),
    "qwen2": ("qwen2", SIZES),
    "qwen3, norms of heads": ("qwen3", {**SIZES, "head_dim": 64}),
    "phi3": ("phi3", SIZES),
    "phi3, half of each head": (
        "phi3",
        {
            **SIZES,
            "hidden_size": 256,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5},
        },
    ),
    "gemma, another norm and activation": ("gemma", {**SIZES, "head_dim": 32}),
    **{f"{name}, sizes that fit nothing": (name, {}) for name in ("llama", "phi3", "qwen3")},
}


@pytest.fixture(autouse=True)
def _native_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine's neighbours do to the timing at the start."""
    for module in (fusion, packing):
        monkeypatch.setattr(module, "native_pays", lambda: True)


def varied(name: str) -> Any:
    architecture, changes = VARIANTS[name]
    return make_varied_model(architecture, "bfloat16", **changes)


def native(model: Any) -> Any:
    assert fuse(model, RopeRegimes(model)) is None
    assert {type(layer) for layer in model.model.layers} == {NativeLayer}
    return model


def prompt(length: int) -> list[int]:
    generator = torch.Generator().manual_seed(length)
    return torch.randint(0, VOCABULARY, (length,), generator=generator).tolist()


def batch_logits(model: Any, lengths: list[int], *, part: int = 16) -> list[list[torch.Tensor]]:
    """By row: after the prompt, which is read in parts, after each of ten steps together, and then of three tokens."""
    runner = Runner(model, RopeRegimes(model))
    found = []
    for length in lengths:
        staging = runner.stage(length)
        for start in range(0, length, part):
            read = runner.prefill(staging, prompt(length)[start : start + part], Regime.SHORT)
        found.append([read[0]])
        runner.batch(Regime.SHORT).insert(staging, bound=CONTEXT)
    for count in (*[1] * 10, 3):
        tokens = [[step % 100 + 3 for step in range(length, length + count)] for length in lengths]
        for row, logits in enumerate(runner.step(Regime.SHORT, tokens, CONTEXT)):
            found[row].append(logits)
    return found


@pytest.mark.parametrize("name", VARIANTS)
@torch.inference_mode()
def test_a_batch_is_as_near_to_the_logits_of_float32_as_the_librarys_layers_are(name: str) -> None:
    lengths = [70, 9, 41]
    exact = batch_logits(varied(name).float(), lengths)
    errors = []
    for model in (varied(name), native(varied(name))):
        pairs = zip(exact, batch_logits(model, lengths), strict=True)
        differences = [(one - other).abs() for row in pairs for one, other in zip(*row, strict=True)]
        errors.append(torch.cat([difference.flatten() for difference in differences]).mean())
    # Half of what one rounding left out, or one too many, makes of it.
    assert float(errors[1]) < 1.1 * float(errors[0])


@pytest.mark.parametrize("name", ["llama", "qwen2", "phi3", "llama, biases"])
@torch.inference_mode()
def test_logits_are_the_same_to_the_bit_alone_and_in_a_batch_and_whatever_parts_a_prompt_is_read_in(
    name: str,
) -> None:
    model = native(varied(name))
    assert pack(model) == 4 * len(model.model.layers) + 1
    together = batch_logits(model, [70, 9, 41])
    for row, length in enumerate([70, 9, 41]):
        for part in (7, 16, 100):
            [alone] = batch_logits(model, [length], part=part)
            assert all(torch.equal(one, other) for one, other in zip(alone, together[row], strict=True))


async def test_bfloat16_answers_are_those_of_a_request_alone_whatever_else_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(ARCHITECTURES, "wide", ("llama", {**ARCHITECTURES["llama"][1], **SIZES}))
    source = random.Random(1)
    requests = [
        GenerationRequest(
            prompt=tuple(source.randrange(3, VOCABULARY) for _ in range(source.randint(2, 90))),
            max_new_tokens=source.randint(5, 60),
            pad_token_id=0,
        )
        for _ in range(30)
    ]
    async with running("wide", "bfloat16") as engine:
        together = await asyncio.gather(*(answered(engine, request) for request in requests))
        alone = [await answered(engine, request) for request in requests]
    assert together == alone


def test_what_is_computed_in_c_is_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    called: dict[str, int] = {}

    def counted(module: Any, name: str) -> None:
        original = getattr(module, name)

        def count(*given: Any, **named: Any) -> Any:
            called[name] = called.get(name, 0) + 1
            return original(*given, **named)

        monkeypatch.setattr(module, name, count)

    wide, small = native(varied("llama")), native(varied("llama, sizes that fit nothing"))
    gelu = native(varied("gemma, another norm and activation"))
    for name in ("norm", "gate", "rotate"):
        counted(pointwise, name)
    counted(attention, "attention")
    with torch.inference_mode():
        wide(torch.tensor([[5, 6, 7]]))
        assert called == {"norm": 4, "gate": 2, "rotate": 2, "attention": 2}
        called.clear()
        small(torch.tensor([[5, 6, 7]]))
        assert called == {"norm": 4, "gate": 2}  # heads of 8 numbers
        called.clear()
        gelu(torch.tensor([[5, 6, 7]]))
        assert called == {"rotate": 2, "attention": 2}


def test_layers_in_c_that_compute_something_else_leave_the_model_to_those_of_torch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(native_layer.pointwise, "gate", lambda states: states[..., :192] * 0)
    model = varied("llama")
    assert fuse(model, RopeRegimes(model)) is None
    assert {type(layer) for layer in model.model.layers} == {FusedLayer}
    assert "layers in C are not used: fused layers' logits differ" in caplog.text


def test_float32_stays_with_torch() -> None:
    model = make_model("llama", "float32", **SIZES)
    assert fuse(model, RopeRegimes(model)) is None
    assert {type(layer) for layer in model.model.layers} == {FusedLayer}
