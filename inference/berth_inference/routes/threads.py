"""Which work on texts is handed to a thread: what would hold up the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

from fastapi import Request

from berth_inference.routes.reading import GeneratedSequence

_P = ParamSpec("_P")
_T = TypeVar("_T")

# Handing work over and back takes 0.06 ms where a core is free, and milliseconds where threads have to wait
# for one. A tokenizer reads so many bytes in about 2 ms.
_SHORT_BODY = 8000

# As many tokens as are decoded in 0.1 ms; in 4 ms where they end in the middle of a character.
_SHORT_ANSWER = 256


async def off_loop(long: bool, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """What the work returns: from a thread if it is long, else done here and now."""
    if long:
        return await asyncio.to_thread(work, *args, **kwargs)
    return work(*args, **kwargs)


async def long_body(request: Request) -> bool:
    """Whether a request, which has been read, may hold text that takes long to tokenise."""
    return len(await request.body()) > _SHORT_BODY


def long_answer(sequences: Iterable[GeneratedSequence]) -> bool:
    """Whether sequences take long to render. Log-probabilities come with up to 20 more texts a token."""
    tokens = 0
    for sequence in sequences:
        if sequence.logprobs:
            return True
        tokens += len(sequence.token_ids)
    return tokens > _SHORT_ANSWER
