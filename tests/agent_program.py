"""What stands in for a server in tests of the node agent: a small HTTP server that does as it is told.

It listens on BERTH_HOST:BERTH_PORT. `/health` answers 503 until `/ready` was asked for, unless READY is set, and
again after `/unready`; `/exit/N` ends the process with N; anything else answers who and what it is as JSON. It ends
on SIGTERM after the requests that run, or never with STUBBORN set.
"""

import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ready = bool(os.environ.get("READY"))


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        global ready
        if self.path.startswith("/exit/"):
            os._exit(int(self.path.removeprefix("/exit/")))
        if self.path in ("/ready", "/unready"):
            ready = self.path == "/ready"
        status = 503 if self.path == "/health" and not ready else 200
        body = json.dumps({"pid": os.getpid(), "cwd": str(Path.cwd()), "env": dict(os.environ)}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        sys.stdout.write(f"{format % args}\n")


class Server(ThreadingHTTPServer):
    daemon_threads = False
    allow_reuse_address = True


server = Server((os.environ["BERTH_HOST"], int(os.environ["BERTH_PORT"])), Handler)
stop = threading.Thread(target=server.shutdown)
signal.signal(signal.SIGTERM, signal.SIG_IGN if os.environ.get("STUBBORN") else lambda *_: stop.start())
sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
sys.stdout.write("listening\n")
server.serve_forever(poll_interval=0.02)
server.server_close()
