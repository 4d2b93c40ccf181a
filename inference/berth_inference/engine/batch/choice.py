"""How one request's next tokens are chosen: decided once per request, not for every token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from berth_inference.engine.batch.candidates import Narrowing
from berth_inference.engine.constraint import GrammarCompiler, GrammarProcessor
from berth_inference.engine.processors import logits_processors
from berth_inference.engine.request import GenerationRequest


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """transformers' `processors`, one list for each row, change its logits; the rest says how to sample.

    `narrowing` is what the fast sampler is to do, and neutral where `processors` see to it.
    """

    do_sample: bool
    narrowing: Narrowing
    processors: Sequence[Any]
    tolerates_invalid: bool


def choice(request: GenerationRequest, model: Any, grammars: GrammarCompiler) -> Choice:
    """What `generate` would do with this request. Raises ValueError where it would, and `BerthError`."""
    sampling = request.sampling
    # Typical sampling stays with transformers: it orders tokens by something else than likelihood. So
    # does a seeded nucleus of the whole vocabulary: its edge depends on the order of a long sum's
    # roundings, and a seed promises the very token that `generate` would draw.
    repeatable_nucleus = request.seed is not None and sampling.top_k == 0 and sampling.top_p < 1.0
    fast = sampling.do_sample and sampling.typical_p >= 1.0 and not repeatable_nucleus
    remaining = replace(request, n=1, sampling=replace(sampling, do_sample=sampling.do_sample and not fast))
    return Choice(
        do_sample=sampling.do_sample,
        narrowing=(
            Narrowing(sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p)
            if fast
            else Narrowing(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0)
        ),
        processors=_processors_of_rows(remaining, request.n, model, grammars),
        tolerates_invalid=sampling.remove_invalid_values,
    )


def _processors_of_rows(
    request: GenerationRequest, rows: int, model: Any, grammars: GrammarCompiler
) -> Sequence[Any]:
    """Only a grammar keeps a state; without one, all rows share their processors."""
    if request.grammar is None:
        return [logits_processors(request, model)] * rows
    followers = grammars.followers(request.grammar, request.stop_token_ids, rows)
    prompt = len(request.prompt)
    return [logits_processors(request, model, [GrammarProcessor(prompt, [each])]) for each in followers]
