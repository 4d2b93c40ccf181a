"""Whether a model gives the same answers in a batch as alone: tried out, not assumed."""

from __future__ import annotations

from typing import Any

import torch

from berth_inference.engine.batch.rope import RopeRegimes
from berth_inference.engine.batch.runner import Runner
from berth_inference.engine.batch.scheduler import Regime

# Prompts of different lengths, so that rows are padded; and steps enough for one to join late.
_LENGTHS = (5, 11, 3)
_STEPS = 3

# Largest difference of logits in a batch, as a share of their spread, that rounding explains. float32
# shows some 1e-5; bfloat16 with 8 bits of precision over dozens of layers some percent. A batch
# that attends to the wrong tokens is off by about the whole spread.
_TOLERANCE = {torch.float32: 1e-3}
_TOLERANCE_BELOW_FLOAT32 = 0.25

# Kinds of layers whose state is keys and values alone, and whose mask depends on distances alone.
_BATCHABLE_LAYERS = {"full_attention", "sliding_attention"}


def why_not_batchable(model: Any, rope: RopeRegimes) -> str | None:
    """None if the model can be batched; otherwise the reason in words."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ()) - _BATCHABLE_LAYERS
    if kinds:
        return f"it has layers of the kind {', '.join(sorted(kinds))}"
    if getattr(model, "_is_stateful", False):
        return "it keeps a state other than keys and values"
    try:
        with torch.inference_mode():
            difference = _largest_difference(model, rope)
    except Exception as error:
        return f"a batch of it fails with {type(error).__name__}"
    tolerance = _TOLERANCE.get(model.dtype, _TOLERANCE_BELOW_FLOAT32)
    if not difference <= tolerance:  # also where it is not a number
        return f"its logits in a batch differ by {difference:.2g} of their spread, more than {tolerance}"
    return None


def trial_logits(model: Any, rope: RopeRegimes) -> list[torch.Tensor]:
    """Logits of prompts of different lengths read in parts, of steps of them together, and of one alone."""
    runner, rows = Runner(model, rope), _trial_rows(model)
    read, stepped = _run(runner, rows)
    alone = model(torch.tensor([rows[0]], device=model.device), use_cache=False).logits[0].float()
    return [*read, *stepped, alone]


def _trial_rows(model: Any) -> list[list[int]]:
    vocabulary = int(model.config.get_text_config().vocab_size)
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randint(0, vocabulary, (length + _STEPS,), generator=generator).tolist() for length in _LENGTHS
    ]


def _run(runner: Runner, rows: list[list[int]]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Logits after each prompt, (1, vocabulary), and after each step, (rows, vocabulary)."""
    bound = max(_LENGTHS) + _STEPS
    batch = runner.batch(Regime.SHORT)
    read = []
    for tokens, length in zip(rows, _LENGTHS, strict=True):
        staging = runner.stage(length)
        runner.prefill(staging, tokens[:2], Regime.SHORT)
        read.append(runner.prefill(staging, tokens[2:length], Regime.SHORT))
        batch.insert(staging, bound=bound)
    stepped = []
    for step in range(_STEPS):
        newest = [[tokens[length + step]] for tokens, length in zip(rows, _LENGTHS, strict=True)]
        stepped.append(runner.step(Regime.SHORT, newest, bound)[:, 0])
    return read, stepped


def _largest_difference(model: Any, rope: RopeRegimes) -> float:
    rows = _trial_rows(model)
    worst = 0.0
    for step, together in enumerate(_run(Runner(model, rope), rows)[1]):
        for row, (tokens, length) in enumerate(zip(rows, _LENGTHS, strict=True)):
            ids = torch.tensor([tokens[: length + step + 1]], device=model.device)
            alone = model(ids, use_cache=False).logits[0, -1].float()
            spread = float(alone.std()) or 1.0
            worst = max(worst, float((together[row] - alone).abs().max()) / spread)
    return worst
