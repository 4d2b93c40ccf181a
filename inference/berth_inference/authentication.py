"""Lets in who presents an API key. Nothing of a request is read before, its body least of all."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from berth_inference.api_keys import ApiKeys
from berth_inference.errors import BerthError, ErrorKind
from berth_inference.http_errors import render

OPEN_PATHS = frozenset({"/", "/health", "/healthz", "/livez"})
"""What the kubelet, load balancers and the operator ask, which hold no key. None of it tells a secret."""


class RequireKey:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, keys: ApiKeys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401 to whatever is not open and bears no valid key, also to paths that do not exist."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        key = bearer_token(scope["headers"])
        if key and self._keys.accept(key):
            await self._app(scope, receive, send)
            return
        what = "The API key is not valid" if key else "An API key is needed"
        error = BerthError(ErrorKind.UNAUTHORIZED, f"{what}: send Authorization: Bearer <key>.")
        response = render(error, scope["path"])
        response.headers["WWW-Authenticate"] = "Bearer"
        await response(scope, receive, send)


def bearer_token(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The token of an Authorization header with the scheme Bearer; empty where there is none."""
    for name, value in headers:
        if name == b"authorization":
            scheme, _, token = value.partition(b" ")
            return token.strip() if scheme.lower() == b"bearer" else b""
    return b""
