"""What is asked: one question in the form of each API."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

APIS = ("/chat", "/v1/generate", "/v1/chat/completions", "/v1/completions")

_TEXT = (
    "A Node is a machine on which Pods run and the scheduler chooses one for each new Pod by what the Pod "
    "asks for and by what is free there when the container of a Pod ends the kubelet starts it again"
)


@dataclass(frozen=True, slots=True)
class Case:
    """A request: how long its prompt and its answer are, in tokens, and whether it is streamed."""

    api: str
    prompt: int
    new: int
    stream: bool

    @property
    def separator(self) -> bytes:
        """What ends each piece of a streamed answer."""
        return b"\0" if self.api == "/v1/generate" else b"\n\n"

    def body(self, text: str) -> dict[str, Any]:
        """The request's JSON. The APIs that have a chat are asked through it."""
        turns = [{"role": "user", "content": text}]
        match self.api:
            case "/chat":
                body: dict[str, Any] = {
                    "messages": turns,
                    "return_full_text": False,
                    "generate_kwargs": {"max_new_tokens": self.new, "do_sample": False},
                }
            case "/v1/generate":
                body = {"prompt": text, "max_tokens": self.new, "temperature": 0}
            case "/v1/chat/completions":
                body = {"model": "tiny-chat", "messages": turns, "max_tokens": self.new, "temperature": 0}
            case _:
                body = {"model": "tiny-chat", "prompt": text, "max_tokens": self.new, "temperature": 0}
        return {**body, "stream": True} if self.stream else body


def words(count: int, source: random.Random) -> str:
    """A text of so many words, another one each time: nothing can be remembered of it but its words."""
    return " ".join(source.choices(_TEXT.split(), k=count))
