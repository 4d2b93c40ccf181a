"""Diverse beam search: groups of beams that shun the tokens which the groups before them took.

The algorithm is that of Vijayakumar et al. 2016 (arXiv 1610.02424) with Hamming diversity; where it
leaves a choice, transformers 4's is taken (docs/adr/0007).
"""

from __future__ import annotations

import inspect
import time
from typing import Any

import torch
from transformers import SequenceBiasLogitsProcessor, UnbatchedClassifierFreeGuidanceLogitsProcessor

from berth_inference.engine.hypotheses import Candidate, Hypotheses, divide
from berth_inference.engine.observer import StepObserver
from berth_inference.engine.penalties import HammingDiversity
from berth_inference.engine.processors import logits_processors
from berth_inference.engine.request import GenerationRequest

# What all beams of a group but one begin with, so that the group's first tokens differ. Far below any sum
# of log-probabilities, and yet finite: where only one token is allowed, all beams take it.
_UNLIKELY = -1e9
# Processors whose results the diversity penalty is taken from; all others see it applied.
_BEFORE_DIVERSITY = (SequenceBiasLogitsProcessor, UnbatchedClassifierFreeGuidanceLogitsProcessor)
_CACHES = ("past_key_values", "cache_params")  # what models call it; the second are Mamba's


def search_in_groups(model: Any, request: GenerationRequest, observer: StepObserver) -> list[list[int]]:
    """The `n` best sequences of new tokens, best first, each up to and with its end.

    Asks `observer` at every step which candidates a stop string ends. Raises what it raises.
    """
    return _Search(model, request, observer).run()


class _Search:
    """One request's search. All groups advance together, one forward a step."""

    def __init__(self, model: Any, request: GenerationRequest, observer: StepObserver) -> None:
        sampling = request.sampling
        self._request = request
        self._observer = observer
        self._size = sampling.num_beams // sampling.num_beam_groups
        # Enough to go on with if every beam's likeliest tokens are those that end a sequence.
        self._candidates = max(2, 1 + len(request.stop_token_ids)) * self._size
        self._found = [
            Hypotheses(self._size, sampling, request.max_new_tokens) for _ in range(sampling.num_beam_groups)
        ]
        self._diversity = HammingDiversity(sampling.diversity_penalty)
        self._processors = logits_processors(request, model)
        # By type: bad words, too, are a kind of bias, but come later.
        earlier = sum(type(processor) in _BEFORE_DIVERSITY for processor in self._processors)
        self._processors.insert(earlier, self._diversity)
        self._forward = _Forward(model)
        prompt = torch.tensor([request.prompt], device=model.device)
        self._rows = prompt.repeat(sampling.num_beams, 1)
        self._totals = [0.0, *[_UNLIKELY] * (self._size - 1)] * sampling.num_beam_groups

    def run(self) -> list[list[int]]:
        """See `search_in_groups`."""
        began = time.monotonic()
        limit = self._request.max_seconds
        # Each group's rows in the batch; a group that needs no more has none.
        running = {
            group: range(group * self._size, (group + 1) * self._size) for group in range(len(self._found))
        }
        for length in range(1, self._request.max_new_tokens + 1):
            running = self._step(running, length)
            if not running or (limit is not None and time.monotonic() - began > limit):
                break
        for group, rows in running.items():
            for row in rows:
                self._found[group].add(self._new_tokens(row), self._totals[row])
        found = [hypothesis for group in self._found for hypothesis in group.kept]
        found.reverse()  # of equals the one that was found last goes first, as it has always been
        ranked = sorted(found, key=lambda hypothesis: hypothesis.score, reverse=True)
        return [list(hypothesis.tokens) for hypothesis in ranked][: self._request.n]

    def _step(self, running: dict[int, range], length: int) -> dict[int, range]:
        """Give every running group its next tokens. Returns the groups that go on, with their new rows."""
        scores = torch.log_softmax(self._forward(self._rows), dim=-1).to(self._rows.device)
        self._diversity.taken = []
        kept: list[Candidate] = []
        still: dict[int, range] = {}
        for group, found in enumerate(self._found):
            if group not in running:
                self._diversity.taken += [self._filler] * self._size
                continue
            candidates = self._best(running[group], scores)
            finished, going = divide(candidates, self._size)
            for candidate in finished:
                found.add([*self._new_tokens(candidate.row), candidate.token], candidate.total)
            self._diversity.taken += [candidate.token for candidate in going]
            if going and not found.complete(candidates[0].total, length):
                still[group] = range(len(kept), len(kept) + len(going))
                kept += going
        if kept:
            self._continue(kept)
        return still

    def _best(self, rows: range, scores: torch.Tensor) -> list[Candidate]:
        """A group's likeliest continuations, best first."""
        own = slice(rows.start, rows.stop)
        processed = self._processors(self._rows[own], scores[own])
        totals = processed + torch.tensor(self._totals[own], device=scores.device)[:, None]
        best = torch.topk(totals.flatten(), min(self._candidates, totals.numel()))
        origins = rows.start + best.indices // totals.shape[1]
        tokens = best.indices % totals.shape[1]
        texts = torch.cat([self._rows[origins], tokens[:, None]], dim=1)
        ended = self._observer(texts, None).tolist()
        return [
            Candidate(row, token, total, ends or token in self._request.stop_token_ids)
            for row, token, total, ends in zip(
                origins.tolist(), tokens.tolist(), best.values.tolist(), ended, strict=True
            )
        ]

    def _continue(self, kept: list[Candidate]) -> None:
        origins = torch.tensor([candidate.row for candidate in kept], device=self._rows.device)
        tokens = torch.tensor([candidate.token for candidate in kept], device=self._rows.device)
        self._rows = torch.cat([self._rows[origins], tokens[:, None]], dim=1)
        self._totals = [candidate.total for candidate in kept]
        self._forward.reorder(origins)

    def _new_tokens(self, row: int) -> list[int]:
        tokens: list[int] = self._rows[row, len(self._request.prompt) :].tolist()
        return tokens

    @property
    def _filler(self) -> int:
        """What a finished group's beams count as for the groups after it: padding, as in a rectangle."""
        pad = self._request.pad_token_id
        return pad if pad is not None else next(iter(self._request.stop_token_ids), 0)


class _Forward:
    """The model over all beams, with what it remembers of them."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._memory: dict[str, Any] = {}
        self._first = True
        accepted = inspect.signature(model.forward).parameters
        self._last_only: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Logits after each of these rows, (rows, vocabulary), float32. At first the rows are all alike."""
        first, self._first = self._first, False
        given = rows[:1] if first else rows
        # The model's own preparation, because it knows when what it remembers does not hold any more (LongRoPE).
        inputs = self._model.prepare_inputs_for_generation(
            given,
            next_sequence_length=1 if self._memory else None,
            attention_mask=torch.ones_like(given),
            use_cache=True,
            is_first_iteration=first,
            **self._memory,
            **self._last_only,
        )
        output = self._model(**inputs, return_dict=True)
        self._memory = {name: output[name] for name in _CACHES if name in output}
        if first:
            self.reorder(torch.zeros(len(rows), dtype=torch.long, device=rows.device))
        logits: torch.Tensor = output.logits[:, -1].float()
        return logits.expand(len(rows), -1)

    def reorder(self, origins: torch.Tensor) -> None:
        """From now on row i continues what row `origins[i]` was."""
        for memory in self._memory.values():
            memory.reorder_cache(origins)
