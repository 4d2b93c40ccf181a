"""Diverse beam search as slowly and plainly as it can be said, and arguments to try it with."""

from __future__ import annotations

import math
import random
from typing import Any

from berth_inference.engine import GenerationRequest, SamplingParams
from server.model_zoo import END, VOCABULARY

Beam = tuple[list[int], float]  # new tokens, and the sum of their scores


def group_beam_search(model: Any, request: GenerationRequest) -> list[list[int]]:
    """The best sequences, best first, each up to and with its end. Reads every text anew at each step."""
    sampling = request.sampling
    size = sampling.num_beams // sampling.num_beam_groups
    beams: list[list[Beam]] = [[([], 0.0)] for _ in range(sampling.num_beam_groups)]
    finished: list[list[Beam]] = [[] for _ in beams]
    done = [False] * len(beams)
    for length in range(1, request.max_new_tokens + 1):
        taken: list[int] = []
        for group in range(len(beams)):
            if done[group]:
                taken += [request.pad_token_id or 0] * size
                continue
            continued = [
                ([*tokens, token], total + score)
                for tokens, total in beams[group]
                for token, score in enumerate(_scores(model, request, tokens, taken))
            ]
            continued.sort(key=lambda beam: -beam[1])
            ends = [beam for beam in continued[:size] if beam[0][-1] in request.stop_token_ids]
            finished[group] = _best(finished[group] + ends, size, sampling)
            beams[group] = [beam for beam in continued if beam[0][-1] not in request.stop_token_ids][:size]
            taken += [tokens[-1] for tokens, _ in beams[group]]
            done[group] = len(finished[group]) == size and _enough(
                finished[group], continued[0][1], length, request
            )
    for group, still in enumerate(beams):
        if not done[group]:
            finished[group] = _best(finished[group] + still, size, sampling)
    best = _best([beam for group in finished for beam in group], request.n, sampling)
    return [tokens for tokens, _ in best]


def _value(beam: Beam, sampling: SamplingParams) -> float:
    return beam[1] / float(len(beam[0]) ** sampling.length_penalty)


def _best(beams: list[Beam], number: int, sampling: SamplingParams) -> list[Beam]:
    return sorted(beams, key=lambda beam: -_value(beam, sampling))[:number]


def _enough(finished: list[Beam], best: float, length: int, request: GenerationRequest) -> bool:
    sampling = request.sampling
    if sampling.early_stopping is True:
        return True
    if sampling.early_stopping == "never" and sampling.length_penalty > 0:
        length = request.max_new_tokens
    return min(_value(beam, sampling) for beam in finished) >= best / float(length**sampling.length_penalty)


def _scores(model: Any, request: GenerationRequest, tokens: list[int], taken: list[int]) -> list[float]:
    """Each token's log-probability with what the arguments change of it."""
    import torch

    text = [*request.prompt, *tokens]
    with torch.inference_mode():
        scores: list[float] = torch.log_softmax(model(torch.tensor([text])).logits[0, -1], dim=-1).tolist()
    for token in taken:
        scores[token] -= request.sampling.diversity_penalty
    for token in set(text):
        penalty = request.sampling.repetition_penalty
        scores[token] *= penalty if scores[token] < 0 else 1 / penalty
    for (word,) in request.sampling.bad_words_ids:
        scores[word] = -math.inf
    if len(tokens) < request.min_new_tokens:
        for token in request.stop_token_ids:
            scores[token] = -math.inf
    return scores


def random_group_request(source: random.Random) -> GenerationRequest:
    """Arguments that the reference knows. Many tokens end a sequence, so that groups end at different times."""
    groups, size = source.choice([2, 2, 3, 4]), source.choice([1, 2, 3])
    new = source.randint(1, 14)
    return GenerationRequest(
        prompt=tuple(source.randrange(3, VOCABULARY) for _ in range(source.choice([1, 3, 8, 20, 45]))),
        max_new_tokens=new,
        min_new_tokens=source.choice([0, 0, source.randint(0, new)]),
        n=source.randint(1, groups * size),
        sampling=SamplingParams(
            num_beams=groups * size,
            num_beam_groups=groups,
            diversity_penalty=source.choice([0.1, 0.5, 1.0, 1.7, 5.0, 50.0]),
            repetition_penalty=source.choice([1.0, 1.0, 0.8, 1.2]),
            bad_words_ids=source.choice([(), ((7,), (9,))]),
            length_penalty=source.choice([1.0, 1.0, 0.0, 0.6, 2.0, -1.0]),
            early_stopping=source.choice([False, True, "never"]),
        ),
        stop_token_ids=source.choice(
            [(), (END,), (END, *source.sample(range(3, VOCABULARY), source.choice([8, 20, 40])))]
        ),
        pad_token_id=source.choice([0, END]),
    )
