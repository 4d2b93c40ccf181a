"""As much of vLLM's HTTP interface as a front needs: it replays recorded answers, and faults."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ANSWERS = Path(__file__).parent / "vllm_answers"
SERVED = "my-model"


@dataclass
class FakeVLLM:
    """One server that runs `my-model`. The first answer of all is that to the warm-up."""

    url: str = ""
    answer: str = "one.sse"
    """The file that the next requests are answered with."""
    status: int = 200
    """The status of the answer."""
    headers: dict[str, str] = field(default_factory=dict)
    healthy: bool = True
    parts: int | None = None
    """How many events are sent before the connection breaks; None for all."""
    held: threading.Event | None = None
    """What follows the first `free` events is sent once this is set."""
    free: int = 1
    left: threading.Event = field(default_factory=threading.Event)
    """A client went away before it had everything."""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    """What was asked of /v1/completions."""

    def become(self, **changes: Any) -> None:
        """Behave as at first, but for the changes."""
        fresh = FakeVLLM(**changes)
        for name in ("answer", "status", "headers", "healthy", "parts", "held", "free", "left"):
            setattr(self, name, getattr(fresh, name))


def _handler(vllm: FakeVLLM) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None: ...

        def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            if self.path == "/health":
                self._answer(200 if vllm.healthy else 503)
            elif self.path == "/v1/models":
                self._answer(200, (ANSWERS / "models.json").read_bytes())
            elif self.path == "/metrics":
                self._answer(200, (ANSWERS / "metrics.txt").read_bytes())
            else:
                self._answer(404)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            vllm.bodies.append(body)
            recorded = (ANSWERS / vllm.answer).read_bytes()
            if vllm.answer.endswith(".json"):
                self._answer(vllm.status, recorded, **{"Content-Type": "application/json", **vllm.headers})
                return
            assert body["stream"], "vLLM would answer in one piece"
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream; charset=utf-8")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            try:
                self._stream(recorded.split(b"\n\n")[:-1])
            except OSError:
                vllm.left.set()
                self.close_connection = True

        def _stream(self, events: list[bytes]) -> None:
            for number, event in enumerate(events):
                if number == vllm.parts:
                    self.close_connection = True
                    return
                if number == vllm.free and vllm.held is not None:
                    self._wait(vllm.held)
                data = event + b"\n\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.write(b"0\r\n\r\n")

        def _wait(self, held: threading.Event) -> None:
            """Until it is set, or the client has gone, which a read without a result tells."""
            self.connection.settimeout(0.02)
            while not held.is_set():
                try:
                    if not self.connection.recv(1):
                        raise ConnectionResetError
                except TimeoutError:
                    continue
            self.connection.settimeout(None)

    return Handler


@contextmanager
def fake_vllm(port: int = 0) -> Iterator[FakeVLLM]:
    """Listens on a loopback port, by default on one that is free."""
    vllm = FakeVLLM()
    with ThreadingHTTPServer(("127.0.0.1", port), _handler(vllm)) as server:
        server.daemon_threads = True
        vllm.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield vllm
        finally:
            server.shutdown()
            thread.join(5)
