"""The application over an engine that costs nothing, and beside it the least that an answer can cost.

`POST /floor?chunks=C&size=S` reads its body and answers with C chunks of S bytes, through the same HTTP
server and nothing else of Berth: what is left of a request's time is HTTP itself, and the client.
"""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from benchmarks.http_overhead.stub_engine import MODEL, load_stub
from berth_inference.app import create_app
from berth_inference.logs import configure_logs
from berth_inference.processor import share_the_cores
from berth_inference.server import http_config
from berth_inference.settings import Settings


async def _floor(request: Request) -> Response:
    await request.body()
    chunks, chunk = int(request.query_params["chunks"]), b"x" * int(request.query_params["size"])
    if chunks == 1:
        return Response(chunk, media_type="application/json")

    async def repeated() -> AsyncIterator[bytes]:
        for _ in range(chunks):
            yield chunk

    return StreamingResponse(repeated(), media_type="text/event-stream")


def main() -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    configure_logs("text")
    share_the_cores()
    app = create_app(Settings(model=MODEL), load_stub)
    floor = Starlette(routes=[Route("/floor", _floor, methods=["POST"])])

    async def either(scope: Scope, receive: Receive, send: Send) -> None:
        chosen = floor if scope["type"] == "http" and scope["path"] == "/floor" else app
        await chosen(scope, receive, send)

    config = http_config(either)
    config.port = port
    uvicorn.Server(config).run()


if __name__ == "__main__":
    main()
