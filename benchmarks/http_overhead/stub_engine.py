"""An engine whose tokens cost nothing, so that what a request takes is everything around the model."""

from __future__ import annotations

import asyncio
import itertools
import queue
import threading

from transformers import AutoTokenizer

from berth_inference.engine import EventStream, Finished, FinishReason, GenerationRequest, Grammar, ModelInfo
from berth_inference.engine.codec import TokenizerCodec
from berth_inference.engine.events import SequenceFinished, TokenEvent
from berth_inference.engine.interface import Occupancy
from berth_inference.models import built_in_models
from berth_inference.progress import LoadProgress
from berth_inference.settings import Settings

MODEL = "tiny-chat"

ANSWER = (
    "A Pod is the smallest thing that Kubernetes runs: one or more containers that share an address and "
    "their storage. A Deployment keeps as many Pods as it is told to, and a Service gives them one name."
)
"""What every answer says, over and over up to its length."""


def load_stub(settings: Settings, _: LoadProgress) -> StubEngine:
    """The loader of the application under test."""
    return StubEngine(settings.names)


class StubEngine:
    """tiny-chat's tokenizer and description, and prepared tokens.

    As with the real engine they come from a thread of its own, one event for each; all at once, which
    no model does, but which leaves nobody anything to wait for.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.codec = TokenizerCodec(AutoTokenizer.from_pretrained(built_in_models()[MODEL]))
        self.info = ModelInfo(
            names=names,
            context_length=2048,
            vocabulary=2048,
            stop_token_ids=(4, 0),
            pad_token_id=0,
            has_chat_template=True,
            dtype="float32",
            device="cpu",
            defaults={"do_sample": False, "eos_token_id": [4, 0], "pad_token_id": 0},
        )
        self.occupancy = Occupancy()
        self._answer = self.codec.encode(ANSWER)
        self._inbox: queue.SimpleQueue[tuple[GenerationRequest, EventStream] | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="stub", daemon=True).start()

    def prepare(self, grammar: Grammar) -> None:
        """Any grammar will do."""

    def submit(self, request: GenerationRequest) -> EventStream:
        """Answer with as many tokens as are allowed."""
        stream = EventStream(asyncio.get_running_loop())
        self._inbox.put((request, stream))
        return stream

    async def drain(self, seconds: float) -> None:
        """Nothing is ever left."""

    def close(self) -> None:
        """End the thread."""
        self._inbox.put(None)

    def _work(self) -> None:
        while (item := self._inbox.get()) is not None:
            request, stream = item
            for token in itertools.islice(itertools.cycle(self._answer), request.max_new_tokens):
                stream.publish(TokenEvent(0, (token,)))
            stream.publish(SequenceFinished(0, FinishReason.LENGTH))
            stream.publish(Finished(len(request.prompt), request.max_new_tokens))
