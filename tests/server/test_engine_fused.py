"""Fused layers: the same logits and tokens as the library's, one copy of the weights, and when they stay out."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch

from berth_inference.engine.batch import fused_layer, fusion
from berth_inference.engine.batch.engine import BatchEngine, BatchSettings
from berth_inference.engine.batch.fused_layer import FusedLayer
from berth_inference.engine.batch.fusion import fuse
from berth_inference.engine.batch.joined_linear import JoinedLinear
from berth_inference.engine.batch.packed_linear import PackedLinear
from berth_inference.engine.batch.packing import pack
from berth_inference.engine.batch.rope import RopeRegimes
from berth_inference.engine.batch.runner import Runner
from berth_inference.engine.batch.scheduler import Regime
from server.model_zoo import ARCHITECTURES, CONTEXT, VOCABULARY, make_model, make_pipeline, make_varied_model

pytestmark = pytest.mark.thorough


@pytest.fixture(autouse=True)
def _of_torchs_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are in C round less, and are tested elsewhere."""
    monkeypatch.setattr(fusion, "native_pays", lambda: False)


NOT_FUSED = {"gpt-neox", "falcon", "falcon-alibi", "bloom"}
# Configurations that make a difference to a layer beside those of the zoo.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in ARCHITECTURES if name not in NOT_FUSED},
    "rotating half of each head": (
        "phi3",
        {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}},
    ),
    "biases in attention and MLP": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "one head for all keys and values": ("llama", {"num_key_value_heads": 1}),
    "as many heads for keys and values": ("llama", {"num_key_value_heads": 4}),
    "heads wider than the model": ("qwen3", {"head_dim": 16}),
    "windows in some layers": (
        "qwen3",
        {
            "use_sliding_window": True,
            "sliding_window": 24,
            "layer_types": ["full_attention", "sliding_attention"],
        },
    ),
    "eager attention": ("llama", {"attn_implementation": "eager"}),
    "tied embeddings": ("llama", {"tie_word_embeddings": True}),
}


def varied(name: str, dtype: str = "float32") -> Any:
    architecture, changes = VARIANTS[name]
    return make_varied_model(architecture, dtype, **changes)


def fused(model: Any) -> Any:
    assert fuse(model, RopeRegimes(model)) is None
    assert all(isinstance(layer, FusedLayer) for layer in model.model.layers)
    return model


def batch_logits(model: Any, regime: Regime) -> list[torch.Tensor]:
    """Of rows of different lengths beyond any window, read in parts, of ten steps together, then of three tokens."""
    runner = Runner(model, RopeRegimes(model))
    generator = torch.Generator().manual_seed(5)
    found = []
    for length in (70, 9, 41):
        prompt = torch.randint(0, VOCABULARY, (length,), generator=generator).tolist()
        staging = runner.stage(length)
        for start in range(0, length, 16):
            found.append(runner.prefill(staging, prompt[start : start + 16], regime))
        runner.batch(regime).insert(staging, bound=CONTEXT)
    for step in range(10):
        found.append(runner.step(regime, [[step], [step + 1], [step + 2]], CONTEXT))
    found.append(runner.step(regime, [[step, step + 1, step + 2] for step in range(3)], CONTEXT))
    return found


# As a share of the logits' spread. The roundings are the library's, so bfloat16 is not much worse than
# float32 here; one that were left out or added anywhere would show as 0.05.
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 1e-2)])
@pytest.mark.parametrize("name", VARIANTS)
@torch.inference_mode()
def test_a_batch_has_the_logits_of_the_librarys_layers(name: str, dtype: str, tolerance: float) -> None:
    plain, changed = varied(name, dtype), fused(varied(name, dtype))
    for regime in Regime:
        for expected, found in zip(batch_logits(plain, regime), batch_logits(changed, regime), strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * float(expected.std()))


@pytest.mark.parametrize("packed", [False, True], ids=["as stored", "packed"])
@pytest.mark.parametrize("name", VARIANTS)
def test_generate_gives_the_same_tokens(name: str, packed: bool) -> None:
    plain, changed = varied(name), fused(varied(name))
    RopeRegimes(plain)  # so that one with dynamic RoPE forgets its longest sequence
    if packed:
        assert pack(changed) == 4 * len(changed.model.layers) + 1
    prompt = torch.arange(3, 63)[None]
    for arguments in ({}, {"num_beams": 3}):
        asked = {"max_new_tokens": 20, "do_sample": False, "pad_token_id": 0, **arguments}
        assert torch.equal(changed.generate(prompt, **asked), plain.generate(prompt, **asked))


def test_a_step_does_not_enter_the_librarys_body(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fused(make_model("mistral-sliding"))
    widths: list[int] = []
    library = model.model.forward._library
    monkeypatch.setattr(
        model.model.forward,
        "_library",
        lambda **given: widths.append(given["attention_mask"].shape[1]) or library(**given),
    )
    runner = Runner(model, RopeRegimes(model))
    with torch.inference_mode():
        staging = runner.stage(20)
        runner.prefill(staging, [5] * 20, Regime.SHORT)
        runner.batch(Regime.SHORT).insert(staging, bound=CONTEXT)
        for draft in ([], [], [], [5, 5], [], []):
            runner.step(Regime.SHORT, [[5, *draft]], CONTEXT)
    assert widths == [20, 26, 25, 26]  # the prompt, and all that is longer than the window of 24


def test_of_a_prompt_the_last_layer_goes_on_with_the_newest_token_alone() -> None:
    model = fused(make_model("llama"))
    widths: list[list[int]] = [[] for _ in model.model.layers]
    for layer, seen in zip(model.model.layers, widths, strict=True):
        layer.down.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0].shape[1]))
    runner = Runner(model, RopeRegimes(model))
    with torch.inference_mode():
        staging = runner.stage(40)
        for part in (20, 19, 1):
            runner.prefill(staging, [5] * part, Regime.SHORT)
        runner.batch(Regime.SHORT).insert(staging, bound=CONTEXT)
        runner.step(Regime.SHORT, [[5, 6, 7]], CONTEXT)
        model(torch.tensor([[5] * 20]))
    *others, last = widths
    assert all(seen == [20, 19, 1, 3, 20] for seen in others)
    assert last == [1, 1, 1, 3, 20]


def test_weights_are_held_once() -> None:
    model = make_model("llama")
    replaced = [weakref.ref(layer.weight) for layer in model.modules() if type(layer) is torch.nn.Linear]
    total = sum(layer.numel() for layer in model.parameters() if layer.dim() == 2)
    fused(model)
    assert sum(reference() is not None for reference in replaced) == len(replaced)
    assert sum(_joined_and_plain(model)) + model.model.embed_tokens.weight.numel() == total
    assert pack(model) == 9
    gc.collect()
    assert [reference() for reference in replaced if reference() is not None] == []
    assert not any(isinstance(layer, JoinedLinear) for layer in model.modules())


def _joined_and_plain(model: Any) -> list[int]:
    kinds = (torch.nn.Linear, JoinedLinear)
    return [layer.weight.numel() for layer in model.modules() if isinstance(layer, kinds)]


@pytest.mark.parametrize("bias", [True, False], ids=["biases", "no biases"])
def test_joined_layers_compute_what_their_parts_do_packed_or_not(bias: bool) -> None:
    torch.manual_seed(1)
    parts = tuple(torch.nn.Linear(8, size, bias=bias) for size in (16, 4, 4))
    joined, states = JoinedLinear(parts), torch.randn(2, 3, 8)
    with torch.inference_mode():
        expected = torch.cat([part(states) for part in parts], dim=-1)
        assert torch.equal(joined(states), expected)
        torch.testing.assert_close(PackedLinear(joined)(states), expected)


def _hook(model: Any) -> None:
    model.model.layers[1].mlp.register_forward_hook(lambda *_: None)


def _override(model: Any) -> None:
    attention = model.model.layers[0].self_attn
    attention.forward = attention.forward


def _adapter(model: Any) -> None:
    class Adapted(torch.nn.Linear):
        pass

    model.model.layers[0].self_attn.v_proj = Adapted(32, 16, bias=False)


def _quantised(model: Any) -> None:
    model.model.layers[1].mlp.down_proj = torch.nn.Bilinear(1, 1, 1)


def _further_part(model: Any) -> None:
    model.model.layers[0].self_attn.sinks = torch.nn.Identity()


def _mixed(model: Any) -> None:
    model.model.layers[1].input_layernorm.double()


def _subclass(model: Any) -> None:
    layer = model.model.layers[0]
    layer.__class__ = type("LlamaDecoderLayer", (type(layer),), {})


def _paged(model: Any) -> None:
    model.config._attn_implementation = "flex_attention"


REASONS: dict[str, tuple[str, Callable[[Any], object]]] = {
    "a hook": ("in its layer 1, mlp has a hook", _hook),
    "a forward of its own": ("in its layer 0, self_attn has a hook", _override),
    "an adapter": ("in its layer 0, v_proj is not a plain linear layer", _adapter),
    "a quantised weight": ("in its layer 1, down_proj is not a plain linear layer", _quantised),
    "a part that is not known": ("in its layer 0, sinks is unexpected", _further_part),
    "several number types": ("in its layer 1, input_layernorm.weight is not torch.float32", _mixed),
    "a class of the same name": ("its layers are of no known kind", _subclass),
    "another attention": ("its attention is flex_attention", _paged),
    "training": ("it is in training mode", lambda model: model.train()),
    "another number type": ("its weights are torch.float64", lambda model: model.double()),
    "another device": ("it is on meta", lambda model: model.to("meta")),
}


@pytest.mark.parametrize("case", REASONS)
def test_a_model_with_anything_out_of_the_ordinary_keeps_its_layers(case: str) -> None:
    reason, change = REASONS[case]
    model = make_model("llama")
    change(model)
    before = list(model.model.layers)
    assert (fuse(model, RopeRegimes(model)) or "").startswith(reason)
    assert list(model.model.layers) == before


@pytest.mark.parametrize("name", sorted(NOT_FUSED))
def test_other_architectures_keep_their_layers(name: str) -> None:
    model = make_model(name)
    assert "no known kind" in (fuse(model, RopeRegimes(model)) or "")


def _rotates_nothing(_: FusedLayer, states: torch.Tensor, __: Any) -> torch.Tensor:
    return states


def _raises(*_: Any) -> torch.Tensor:
    raise RuntimeError


@pytest.mark.parametrize(
    ("rotated", "reason"),
    [
        pytest.param(_rotates_nothing, "logits differ", id="other logits"),
        pytest.param(_raises, "fail with RuntimeError", id="an error"),
    ],
)
def test_layers_that_compute_something_else_are_taken_out_again(
    rotated: Callable[..., torch.Tensor], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused_layer.FusedLayer, "_rotated", rotated)
    model, ids = make_model("llama"), torch.arange(20)[None]
    layers = list(model.model.layers)
    with torch.inference_mode():
        before = model(ids).logits
        assert reason in (fuse(model, RopeRegimes(model)) or "")
        assert list(model.model.layers) == layers
        assert torch.equal(model(ids).logits, before)


@pytest.mark.parametrize(("name", "told"), [("llama", False), ("bloom", True)])
def test_the_log_says_why_a_model_is_not_fused(
    name: str, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    BatchEngine(
        make_pipeline(name), names=("zoo",), settings=BatchSettings(max_queued=1, kv_bytes=2**20)
    ).close()
    assert ("library's own layers" in caplog.text) is told
