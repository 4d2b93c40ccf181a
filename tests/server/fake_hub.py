"""As much of the hub's HTTP interface as a download needs, over files in a folder."""

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

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    """One repository, `acme/tiny`, at one commit; and others that answer with the hub's errors."""

    folder: Path
    url: str = ""
    downloaded: list[str] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)


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
            hub.tokens.add(self.headers.get("authorization"))
            path = self.path.split("?")[0]
            if "acme/gated" in path:
                return self._answer(403, X_Error_Code="GatedRepo", X_Error_Message="gated")
            if "acme/tiny" not in path:
                return self._answer(401, X_Error_Code="RepoNotFound", X_Error_Message="no such repository")
            if path.startswith("/api/"):
                return self._api(path)
            name = path.split(f"/resolve/{COMMIT}/")[-1]
            content = (hub.folder / name).read_bytes()
            if self.command == "GET":
                hub.downloaded.append(name)
            etag = hashlib.sha256(content).hexdigest()
            return self._answer(200, content, ETag=f'"{etag}"', X_Repo_Commit=COMMIT)

        do_HEAD = do_GET

        def _api(self, path: str) -> None:
            revision = path.rsplit("/", 1)[-1]
            if "/tree/" not in path and revision not in ("main", "v1", COMMIT):
                return self._answer(404, X_Error_Code="RevisionNotFound", X_Error_Message="no such revision")
            files = sorted(item.name for item in hub.folder.iterdir())
            answer: Any = {
                "id": "acme/tiny",
                "modelId": "acme/tiny",
                "sha": COMMIT,
                "siblings": [{"rfilename": name} for name in files],
            }
            if "/tree/" in path:
                answer = [
                    {"type": "file", "path": name, "size": (hub.folder / name).stat().st_size, "oid": name}
                    for name in files
                ]
            return self._answer(200, json.dumps(answer).encode(), Content_Type="application/json")

    return Handler


@contextmanager
def serve_hub(folder: Path) -> Iterator[FakeHub]:
    """The hub on a free loopback port."""
    hub = FakeHub(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
