"""As much of the hub's HTTP interface as a download needs, over files in a folder, and its faults."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    """One repository, `acme/tiny`, at one commit; and others that answer with the hub's errors."""

    folder: Path
    url: str = ""
    downloaded: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)
    asked: int = 0
    cut: list[int] = field(default_factory=list)
    """For the next downloads of weights: how many bytes are sent before the connection breaks."""
    damaged: list[bytes] = field(default_factory=list)
    """For the next downloads of weights: what is put over the first bytes."""
    refusal: int | None = None
    """A status that everything is answered with."""
    sizes: dict[str, int] = field(default_factory=dict)
    """What is said of files' sizes instead of the truth."""
    held: threading.Event | None = None
    """Weights are sent once this is set."""


def _handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None: ...

        def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            sent = {"Content-Length": str(len(body)), **{k.replace("_", "-"): v for k, v in headers.items()}}
            for name, value in sent.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def do_GET(self) -> None:
            hub.asked += 1
            hub.tokens.add(self.headers.get("authorization"))
            path = urlsplit(self.path).path  # of a whole address, as a proxy is asked for it, too
            if hub.refusal is not None:
                return self._answer(hub.refusal, Retry_After="0")
            if "acme/gated" in path:
                return self._answer(403, X_Error_Code="GatedRepo", X_Error_Message="gated")
            if "acme/tiny" not in path:
                return self._answer(401, X_Error_Code="RepoNotFound", X_Error_Message="no such repository")
            if path.startswith("/api/"):
                return self._api(path)
            return self._file(path.split(f"/resolve/{COMMIT}/")[-1])

        do_HEAD = do_GET

        def _file(self, name: str) -> None:
            content = (hub.folder / name).read_bytes()
            headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X_Repo_Commit": COMMIT}
            if self.command == "HEAD":
                return self._answer(200, content, **headers)
            hub.downloaded.append(name)
            status, length = 200, len(content)
            if asked := self.headers.get("range"):
                hub.ranges.append(asked)
                start = int(asked.removeprefix("bytes=").split("-")[0])
                headers["Content_Range"] = f"bytes {start}-{length - 1}/{length}"
                status, content = 206, content[start:]
            if name.endswith(".safetensors"):
                if hub.held is not None:
                    hub.held.wait(60)
                if hub.damaged:
                    over = hub.damaged.pop(0)
                    content = over + content[len(over) :]
                if hub.cut:
                    return self._break_off(status, content, hub.cut.pop(0), headers)
            return self._answer(status, content, **headers)

        def _break_off(self, status: int, content: bytes, after: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(content[:after])
            self.close_connection = True

        def _api(self, path: str) -> None:
            revision = path.rsplit("/", 1)[-1]
            if "/revision/" in path and revision not in ("main", "v1", COMMIT):
                return self._answer(404, X_Error_Code="RevisionNotFound", X_Error_Message="no such revision")
            files = sorted(item.name for item in hub.folder.iterdir())
            answer: Any = {
                "id": "acme/tiny",
                "modelId": "acme/tiny",
                "sha": COMMIT,
                "siblings": [{"rfilename": name} for name in files],
            }
            if "/tree/" in path:
                answer = [_entry(hub, name) for name in files]
            return self._answer(200, json.dumps(answer).encode(), Content_Type="application/json")

    return Handler


def _entry(hub: FakeHub, name: str) -> dict[str, Any]:
    """A file in the listing: its git id, which for large files is that of a pointer, and then its SHA-256."""
    content = (hub.folder / name).read_bytes()
    size = hub.sizes.get(name, len(content))
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    entry: dict[str, Any] = {"type": "file", "path": name, "size": size, "oid": blob}
    if name.endswith(".safetensors"):
        pointer = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        large = {"oid": hashlib.sha256(content).hexdigest(), "size": size, "pointerSize": 134}
        entry |= {"oid": pointer, "lfs": large}
    return entry


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Nothing to say of clients that go away."""


@contextmanager
def serve_hub(folder: Path) -> Iterator[FakeHub]:
    """The hub on a free loopback port."""
    hub = FakeHub(folder)
    server = _Server(("127.0.0.1", 0), _handler(hub))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
