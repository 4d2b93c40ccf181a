"""Runs the model: prompts in chunks, and one token for all rows of a batch."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch

from berth_inference.engine.batch.kv_cache import Rows, Staging
from berth_inference.engine.batch.rope import RopeRegimes
from berth_inference.engine.batch.scheduler import Regime


class Runner:
    """Owns the keys and values of everything that runs. Called from one thread only.

    Uses the model's standard forward, so every architecture behaves as transformers has it.
    """

    def __init__(self, model: Any, rope: RopeRegimes) -> None:
        self._model = model
        self._rope = rope
        self._device = model.device
        self._layers = int(model.config.get_text_config().num_hidden_layers)
        accepted = inspect.signature(model.forward).parameters
        self._takes_positions = "position_ids" in accepted
        # Of a prompt only the last token's logits are wanted, and a vocabulary for each would be large.
        self._keeps_few = "logits_to_keep" in accepted
        self._batches = {regime: Rows(self._layers) for regime in Regime}

    def batch(self, regime: Regime) -> Rows:
        """The rows of a regime."""
        return self._batches[regime]

    def stage(self, length: int) -> Staging:
        """A place to read `length` tokens into."""
        return Staging(self._layers, length)

    def prefill(self, staging: Staging, tokens: Sequence[int], regime: Regime) -> torch.Tensor:
        """Read the next tokens of a sequence. Returns the logits after them, (1, vocabulary), float32.

        `regime` is that of the whole sequence, of which this may be the first part.
        """
        start, stop = staging.columns, staging.columns + len(tokens)
        with self._rope.long() if regime is Regime.LONG else nullcontext():
            logits = self._forward(
                torch.tensor([tokens]),
                torch.ones(1, stop, dtype=torch.bool),
                torch.arange(start, stop)[None],
                staging.cache,
            )
        staging.columns = stop
        return logits[:, 0]

    def step(self, regime: Regime, tokens: Sequence[Sequence[int]], bound: int) -> torch.Tensor:
        """The next token of each row, and drafts of those after it, as many for each: (rows, count).

        Returns the logits after every one, (rows, count, vocabulary), float32. The rows have advanced by one
        token; for each drafted one that was right, whoever finds that out lets them advance once more. A forward that
        raises leaves the rows as they were, so it can be repeated with fewer.
        """
        rows, count = self._batches[regime], len(tokens[0])
        rows.make_room(bound, count)
        positions = torch.tensor(rows.lengths)[:, None] + torch.arange(count)
        logits = self._forward(torch.tensor(tokens), rows.mask(count), positions, rows.cache, keep=count)
        rows.advance()
        return logits

    def _forward(
        self, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: Any, *, keep: int = 1
    ) -> torch.Tensor:
        """Logits after the last `keep` tokens, (rows, keep, vocabulary), float32."""
        arguments: dict[str, Any] = {"attention_mask": mask.to(self._device)}
        if self._takes_positions:
            arguments["position_ids"] = positions.to(self._device)
        if self._keeps_few:
            arguments["logits_to_keep"] = keep
        output = self._model(ids.to(self._device), past_key_values=cache, use_cache=True, **arguments)
        # A copy: what is chosen from may be changed in place, and the rest of a long prompt's goes.
        logits: torch.Tensor = output.logits[:, -keep:].to(copy=True, dtype=torch.float32)
        return logits
