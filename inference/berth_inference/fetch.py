"""`python -m berth_inference fetch`: puts a model's weights where `serve` finds them, and ends.

While it runs, it answers every GET as a server that loads its model answers /health, so that whoever follows a pod's
start follows this step of it, too.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from berth_inference.errors import LoadError, LoadFailure
from berth_inference.hub import find_model
from berth_inference.logs import configure_logs
from berth_inference.progress import LoadProgress
from berth_inference.settings import Settings
from berth_inference.termination import fail

_log = logging.getLogger(__name__)

# Longer than a health check waits for its answer; a client that says nothing holds a thread no longer.
_CLIENT_SECONDS = 5.0


def fetch(settings: Settings) -> int:
    """Fetch the settings' model. Returns the exit code: 0 when it is there, whole and intact."""
    configure_logs(settings.log_format)
    # It logs each request.
    for library in ("httpx", "httpx2"):
        logging.getLogger(library).setLevel(logging.WARNING)
    # As the first process of a container, it would otherwise not be ended by the signal at all. Threads that download
    # would hold up any gentler end, and what they leave is removed by the next one.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
    progress = LoadProgress()
    try:
        with _reporting(settings.host, settings.port, progress):
            folder = find_model(settings.model, settings.revision, progress)
    except LoadError as error:
        return fail(error)
    except Exception as error:
        _log.exception("an unforeseen error")
        return fail(
            LoadError(f"{settings.model} cannot be fetched: {type(error).__name__}", LoadFailure.INTERNAL)
        )
    _log.info("%s is in %s", settings.model, folder)
    return 0


@contextmanager
def _reporting(host: str, port: int, progress: LoadProgress) -> Iterator[None]:
    """Answer GET with the progress. Where the port cannot be had, do without: it is only for people."""
    try:
        server = _server(host, port, progress)
    except OSError as error:
        _log.warning("progress is not reported: cannot listen on %s port %d: %s", host, port, error.strerror)
        yield
        return
    _log.info("progress is told on port %d", server.server_port)
    threading.Thread(target=server.serve_forever, name="progress", daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def _server(host: str, port: int, progress: LoadProgress) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        timeout = _CLIENT_SECONDS

        def log_message(self, *_: Any) -> None:
            """Say nothing of health checks."""

        def do_GET(self) -> None:
            """The progress, under any path."""
            body = json.dumps({"status": "loading", **progress.report()}).encode()
            self.send_response(503)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Retry-After", "1")
            self.end_headers()
            self.wfile.write(body)

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True

    return Server((host, port), Handler)
