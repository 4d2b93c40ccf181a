"""An engine without a model: it says what a test tells it to, through the real tokenizer and the real routes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from berth_inference.app import create_app
from berth_inference.engine import (
    Codec,
    EventStream,
    Finished,
    FinishReason,
    GenerationRequest,
    Grammar,
    ModelInfo,
    SequenceFinished,
    TokenEvent,
)
from berth_inference.engine.codec import TokenizerCodec
from berth_inference.engine.interface import Occupancy
from berth_inference.errors import BerthError
from berth_inference.settings import Settings
from server.random_model import END, END_OF_TEXT


class StubEngine:
    """Answers each sequence with a text, or fails: at once (`refuses`), or after the first half (`breaks`)."""

    def __init__(
        self,
        tokenizer: Any,
        says: str = "",
        *,
        refuses: BerthError | None = None,
        breaks: BerthError | None = None,
    ) -> None:
        self._codec = TokenizerCodec(tokenizer)
        self._says, self._refuses, self._breaks = says, refuses, breaks
        self.requests: list[GenerationRequest] = []
        self.info = ModelInfo(
            names=("stub",),
            context_length=4096,
            vocabulary=len(tokenizer),
            stop_token_ids=(END_OF_TEXT, END),
            pad_token_id=END_OF_TEXT,
            has_chat_template=True,
            dtype="float32",
            device="cpu",
            defaults={},
            tool_format=self._codec.tool_format,
        )

    @property
    def codec(self) -> Codec:
        return self._codec

    @property
    def occupancy(self) -> Occupancy:
        return Occupancy()

    def prepare(self, grammar: Grammar) -> None:
        pass

    def submit(self, request: GenerationRequest) -> EventStream:
        if self._refuses is not None:
            raise self._refuses
        self.requests.append(request)
        stream = EventStream(asyncio.get_running_loop())
        for event in self._events(request):
            stream.publish(event)
        return stream

    def _events(self, request: GenerationRequest) -> Iterator[Any]:
        tokens: Sequence[int] = self._codec.encode(self._says)
        for sequence in range(request.n):
            for index, token in enumerate(tokens):
                if self._breaks is not None and index == len(tokens) // 2:
                    yield self._breaks
                    return
                yield TokenEvent(sequence, (token,))
            yield SequenceFinished(sequence, FinishReason.STOP)
        yield Finished(len(request.prompt), len(tokens) * request.n)

    async def drain(self, seconds: float) -> None:
        pass

    def close(self) -> None:
        pass


@contextmanager
def serving(engine: StubEngine) -> Iterator[TestClient]:
    """The application in process with this engine."""
    with TestClient(create_app(Settings(model="stub"), lambda *_: engine)) as client:
        while client.get("/health").status_code != 200:
            pass
        yield client


def tokenizer_of(folder: Path, template: str | None = None) -> Any:
    """The tokenizer in a folder, with another chat template if one is given."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    if template is not None:
        tokenizer.chat_template = template
    return tokenizer
