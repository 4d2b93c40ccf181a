"""A request that has arrived, made ready to run."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch

from berth_inference.engine.batch.choice import choice
from berth_inference.engine.batch.job import Job, new_rows
from berth_inference.engine.codec import TokenizerCodec
from berth_inference.engine.constraint import GrammarCompiler
from berth_inference.engine.failures import broken, cannot_be_applied, out_of_memory
from berth_inference.engine.observer import StopStrings
from berth_inference.engine.out_of_memory import is_out_of_memory
from berth_inference.engine.request import GenerationRequest
from berth_inference.engine.stream import EventStream
from berth_inference.errors import BerthError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Intake:
    """What jobs are made with."""

    model: Any
    codec: TokenizerCodec
    grammars: GrammarCompiler

    def job(self, key: int, request: GenerationRequest, stream: EventStream) -> Job:
        """Raises `BerthError` whatever is wrong with the request: the others go on."""
        try:
            return Job(
                key=key,
                request=request,
                stream=stream,
                choice=choice(request, self.model, self.grammars),
                stop=StopStrings(self.codec, request.stop),
                generator=_generator(request.seed, self.model.device),
                rows=new_rows(request),
                stop_tokens=frozenset(request.stop_token_ids),
            )
        except BerthError:
            raise
        except Exception as error:
            raise _refusal(error) from None


def _generator(seed: int | None, device: torch.device) -> torch.Generator | None:
    return None if seed is None else torch.Generator(device).manual_seed(seed)


def _refusal(error: Exception) -> BerthError:
    if is_out_of_memory(error):
        _log.error("out of memory in taking a request in: lower --kv-memory, or raise the limit")
        return out_of_memory()
    if isinstance(error, ValueError | TypeError | RuntimeError | IndexError):
        _log.info("a request's arguments were refused", exc_info=error)
        return cannot_be_applied(error)
    _log.error("taking a request in failed", exc_info=error)
    return broken()
