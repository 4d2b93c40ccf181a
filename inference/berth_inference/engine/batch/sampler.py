"""Chooses the next token of every row of a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from berth_inference.engine.batch.candidates import candidates
from berth_inference.engine.batch.job import Job, Row
from berth_inference.engine.failures import cannot_be_applied
from berth_inference.engine.out_of_memory import is_out_of_memory
from berth_inference.engine.penalties import every_token_forbidden
from berth_inference.errors import BerthError, ErrorKind

Pair = tuple[Job, Row]


@dataclass(frozen=True, slots=True)
class Chosen:
    """One row's next token, or why there is none."""

    token: int = -1
    error: Exception | None = None


class Sampler:
    """Greedy rows in one operation, sampled rows in a few; the rest by transformers' processors.

    A request with a seed draws from a generator of its own, in the shape in which `generate` would
    draw for that request alone: its tokens do not depend on what else runs. Without a seed nobody
    can tell which numbers were drawn, so only as many are drawn as there are candidates.
    """

    def __init__(self, device: torch.device) -> None:
        self._generator = torch.Generator(device)
        self._generator.seed()

    def choose(self, logits: torch.Tensor, pairs: Sequence[Pair]) -> list[Chosen]:
        """The next token of each row, in order. `logits`, (rows, vocabulary) in float32, is changed.

        All rows of a request that have not ended are there together.
        """
        chosen: list[Chosen | None] = [None] * len(pairs)
        for index, (job, row) in enumerate(pairs):
            processors = job.choice.processors[row.index]
            if processors:
                try:
                    logits[index] = processors(row.ids.to(logits.device), logits[index : index + 1])[0]
                except Exception as error:  # whatever it is, the other rows go on
                    chosen[index] = Chosen(error=_arguments_fault(error))
        best, greedy = logits.max(dim=-1)  # a NaN wins, so this sees one anywhere in the row
        finite = best.isfinite().tolist()
        tokens = greedy.tolist()
        sampled = []
        for index, (job, _) in enumerate(pairs):
            if chosen[index] is not None:
                continue
            if not finite[index]:
                chosen[index] = Chosen(error=_not_finite(float(best[index])))
            elif job.choice.do_sample:
                sampled.append(index)
            else:
                chosen[index] = Chosen(tokens[index])
        for index, token in self._sample(logits, pairs, sampled):
            chosen[index] = Chosen(token)
        return [choice for choice in chosen if choice is not None]

    def _sample(
        self, logits: torch.Tensor, pairs: Sequence[Pair], sampled: Sequence[int]
    ) -> list[tuple[int, int]]:
        if not sampled:
            return []
        noise = self._seeded_noise(pairs, sampled, logits)
        bounded = [index for index in sampled if pairs[index][0].choice.narrowing.bounded]
        free = [index for index in sampled if not pairs[index][0].choice.narrowing.bounded]
        result: list[tuple[int, int]] = []
        if bounded:
            found = candidates(
                _rows(logits, bounded), [pairs[index][0].choice.narrowing for index in bounded]
            )
            draws = torch.empty_like(found.logits).exponential_(1, generator=self._generator)
            for position, index in enumerate(bounded):
                if index in noise:
                    draws[position] = noise[index][found.tokens[position]]
            winners = (found.logits.softmax(dim=-1) / draws).argmax(dim=-1, keepdim=True)
            result += zip(bounded, found.tokens.gather(-1, winners)[:, 0].tolist(), strict=True)
        if free:
            result += zip(free, self._from_all(_rows(logits, free), pairs, free, noise), strict=True)
        return result

    def _from_all(
        self, logits: torch.Tensor, pairs: Sequence[Pair], free: Sequence[int], noise: dict[int, torch.Tensor]
    ) -> list[int]:
        """Draw from the whole vocabulary."""
        temperatures = [[pairs[index][0].choice.narrowing.temperature] for index in free]
        odds = (logits / torch.tensor(temperatures, device=logits.device)).softmax(dim=-1)
        # One number a row, looked up in the running sum: drawing one for every token costs more than
        # many a model's forward.
        sums = odds.cumsum(dim=-1)
        draws = torch.rand(len(free), 1, generator=self._generator, device=logits.device) * sums[:, -1:]
        draws = torch.minimum(draws, torch.nextafter(sums[:, -1:], torch.zeros_like(draws)))
        tokens: list[int] = torch.searchsorted(sums, draws, right=True)[:, 0].tolist()
        for position, index in enumerate(free):
            if index in noise:
                tokens[position] = int((odds[position] / noise[index]).argmax())
        return tokens

    def _seeded_noise(
        self, pairs: Sequence[Pair], sampled: Sequence[int], like: torch.Tensor
    ) -> dict[int, torch.Tensor]:
        """What torch.multinomial draws inside `generate`, for the rows of requests with a seed.

        It draws for all sequences of a request at once, also for those that have ended.
        """
        noise: dict[int, torch.Tensor] = {}
        drawn: dict[int, torch.Tensor] = {}
        for index in sampled:
            job, row = pairs[index]
            if job.generator is None:
                continue
            if job.key not in drawn:
                whole = torch.empty(job.request.n, like.shape[-1], device=like.device)
                drawn[job.key] = whole.exponential_(1, generator=job.generator)
            noise[index] = drawn[job.key][row.index]
        return noise


def _rows(logits: torch.Tensor, indices: Sequence[int]) -> torch.Tensor:
    return logits if len(indices) == logits.shape[0] else logits[torch.tensor(indices, device=logits.device)]


def _not_finite(best: float) -> BerthError:
    if best == float("-inf"):
        return every_token_forbidden()
    return BerthError(
        ErrorKind.INTERNAL, "The model produced numbers that are not finite; the answer was given up."
    )


def _arguments_fault(error: Exception) -> Exception:
    """What transformers' processors raise for arguments that do not fit, in words for who sent them."""
    if isinstance(error, BerthError) or is_out_of_memory(error):
        return error
    if isinstance(error, RuntimeError | ValueError | IndexError):
        return cannot_be_applied(error)
    return error
