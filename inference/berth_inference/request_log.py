"""Around every request: gives it an id, counts it, and says in one line what became of it."""

from __future__ import annotations

import logging
import time
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from berth_inference.errors import ErrorKind
from berth_inference.metrics import Metrics
from berth_inference.request_record import REQUEST_ID, RequestRecord, current_record, request_id

_log = logging.getLogger(__name__)

# Asked every few seconds, for ever: they would drown the rest of the log.
_UNLOGGED = frozenset({"/health", "/healthz", "/livez", "/metrics"})

# What proxies log for a client that went away; nobody receives it.
_CLIENT_CLOSED_REQUEST = 499

UNROUTED = "other"
"""Stands for the path of a request that was answered before it, or that has none, reached a route."""


class RequestLog:
    """ASGI middleware, the outermost one. `log_prompts` adds each body to its line."""

    def __init__(self, app: ASGIApp, metrics: Metrics, *, log_prompts: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._log_prompts = log_prompts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, and account for it once it has ended, however it ends."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = RequestRecord(request_id(Headers(scope=scope).get(REQUEST_ID)))
        scope.setdefault("state", {})["request_id"] = record.id
        exchange = _Exchange(record, receive, send, keep_body=self._log_prompts)
        began = time.monotonic()
        token = current_record.set(record)
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except Exception:
            exchange.status = 500
            record.error = ErrorKind.INTERNAL
            raise
        finally:
            current_record.reset(token)
            self._account(scope, exchange, time.monotonic() - began)

    def _account(self, scope: Scope, exchange: _Exchange, seconds: float) -> None:
        record, status, route = exchange.record, exchange.outcome, _route(scope)
        self._metrics.answered(route, status, record.error)
        if scope["path"] in _UNLOGGED:
            return
        fields: dict[str, Any] = {
            "method": scope["method"],
            "route": route,
            "status": status,
            "request_id": record.id,
            "error": record.error,
            "seconds": seconds,
        }
        if record.prompt_tokens:
            fields |= {
                "prompt_tokens": record.prompt_tokens,
                "output_tokens": record.output_tokens,
                "finish_reason": record.finish_reason or "abort",
                "first_token_seconds": record.first_token_seconds,
            }
        if self._log_prompts:
            fields["body"] = exchange.body.decode("utf-8", "backslashreplace")
        _log.info("request", extra={"fields": fields})


class _Exchange:
    """The messages of one request and its answer, watched as they pass."""

    def __init__(self, record: RequestRecord, receive: Receive, send: Send, *, keep_body: bool) -> None:
        self.record = record
        self.status: int | None = None
        self.body = bytearray()
        self._receive = receive
        self._send = send
        self._keep_body = keep_body
        self._answered = False
        self._gone = False

    @property
    def outcome(self) -> int:
        """The status to account for: also of a client that left, or an answer that was cut off."""
        if self._gone or self.status is None:
            return _CLIENT_CLOSED_REQUEST
        return self.status

    async def receive(self) -> Message:
        """The next message of the client's."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            # Said after every answer, too.
            self._gone = self._gone or not self._answered
        elif self._keep_body:
            self.body += message.get("body", b"")
        return message

    async def send(self, message: Message) -> None:
        """The next message to the client, named if it is the first."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)[REQUEST_ID] = self.record.id
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            self._answered = True
        await self._send(message)


def _route(scope: Scope) -> str:
    """The path as the route declares it: what clients make up must not become label values or log lines."""
    return getattr(scope.get("route"), "path", UNROUTED)
