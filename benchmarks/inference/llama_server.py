"""llama.cpp over HTTP: its batched decoding, greedy, for prompts of token ids, as fast as it goes.

Its Python package serves one request at a time, so this is as little as is needed to let many share its
batches: a thread that decodes, and an event loop that answers. Runs in the interpreter that has
llama.cpp's packages: needs `llama_cpp` and numpy. `PYTHON -m benchmarks.inference.llama_server FILE --port N`
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import llama_cpp
import numpy as np

from benchmarks.inference.model import SHAPES

# Sequences at once, and positions of each: the largest workload fits.
_SEQUENCES = 64
_POSITIONS = SHAPES["112m"].context
# Tokens of one call: llama.cpp's own defaults.
_BATCH = 2048


@dataclass
class Sequence:
    """A request. `emit` is called with each new token, then with None."""

    prompt: list[int]
    left: int
    emit: Callable[[int | None], None]
    slot: int = -1
    position: int = 0
    newest: int | None = None
    pending: list[int] = field(default_factory=list)


class Decoder:
    """Owns the model. Tokens of those who decode come first in a batch, then prompts in order."""

    def __init__(self, file: str) -> None:
        llama_cpp.llama_backend_init()
        self._vocabulary = 0
        self._model = llama_cpp.llama_model_load_from_file(
            file.encode(), llama_cpp.llama_model_default_params()
        )
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx = _SEQUENCES * _POSITIONS // _OVERCOMMIT
        settings.n_seq_max = _SEQUENCES
        settings.n_batch = _BATCH
        settings.kv_unified = True
        settings.n_threads = settings.n_threads_batch = len(os.sched_getaffinity(0))
        self._context = llama_cpp.llama_init_from_model(self._model, settings)
        if not self._model or not self._context:
            raise SystemExit(f"llama.cpp cannot load {file}")
        self._vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._batch = llama_cpp.llama_batch_init(_BATCH, 0, 1)
        self._free = list(range(_SEQUENCES))
        self._running: list[Sequence] = []
        self.inbox: queue.SimpleQueue[Sequence] = queue.SimpleQueue()

    def run(self) -> None:
        """Decode for ever."""
        while True:
            while self._free and not (self._running and self.inbox.empty()):
                sequence = self.inbox.get()
                sequence.slot = self._free.pop(0)
                sequence.pending = list(sequence.prompt)
                self._running.append(sequence)
            self._step()

    def _step(self) -> None:
        count, asking = 0, []
        decoding = [one for one in self._running if one.newest is not None]
        reading = [one for one in self._running if one.newest is None]
        for one in decoding:
            one.pending = [one.newest or 0]
        for one in (*decoding, *reading):
            part = one.pending[: _BATCH - count]
            if not part:
                break
            one.pending = one.pending[len(part) :]
            for token in part:
                self._batch.token[count] = token
                self._batch.pos[count] = one.position
                self._batch.n_seq_id[count] = 1
                self._batch.seq_id[count][0] = one.slot
                self._batch.logits[count] = 0
                one.position += 1
                count += 1
            if not one.pending:
                self._batch.logits[count - 1] = 1
                asking.append((one, count - 1))
        self._batch.n_tokens = count
        if llama_cpp.llama_decode(self._context, self._batch) != 0:
            os._exit(1)
        for one, index in asking:
            logits = llama_cpp.llama_get_logits_ith(self._context, index)
            one.newest = int(np.ctypeslib.as_array(logits, (self._vocabulary,)).argmax())
            one.left -= 1
            one.emit(one.newest)
            if one.left == 0:
                one.emit(None)
                self._running.remove(one)
                self._free.append(one.slot)
                self._free.sort()
                llama_cpp.llama_memory_seq_rm(self._memory, one.slot, -1, -1)


# Not all sequences are as long as they may become: a quarter of that holds every workload.
_OVERCOMMIT = 4


async def _answer(decoder: Decoder, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/event-stream\r\n\r\n")
    if head.startswith("POST"):
        length = next(
            int(line[15:]) for line in head.splitlines() if line.lower().startswith("content-length:")
        )
        body = json.loads(await reader.readexactly(length))
        tokens: asyncio.Queue[int | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        decoder.inbox.put(
            Sequence(
                body["prompt"],
                body["max_tokens"],
                lambda token: loop.call_soon_threadsafe(tokens.put_nowait, token) and None,
            )
        )
        count = 0
        while (token := await tokens.get()) is not None:
            count += 1
            writer.write(b"data: " + json.dumps({"choices": [{"text": f"w{token} "}]}).encode() + b"\n\n")
        usage = {"choices": [], "usage": {"completion_tokens": count}}
        writer.write(b"data: " + json.dumps(usage).encode() + b"\n\ndata: [DONE]\n\n")
    await writer.drain()
    writer.close()


async def _serve(decoder: Decoder, port: int) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _answer(decoder, reader, writer)

    server = await asyncio.start_server(answer, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    owner = Decoder(options.file)
    threading.Thread(target=owner.run, daemon=True).start()
    asyncio.run(_serve(owner, options.port))
