"""Errors as HTTP answers, in the form that the route's clients read. No traceback and no path ever leaves."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from berth_inference.errors import BerthError, ErrorKind
from berth_inference.request_record import REQUEST_ID, note_error
from berth_inference.routes.reading import ClientGone
from berth_inference.schemas.problems import describe

_log = logging.getLogger(__name__)

_STATUS = {
    ErrorKind.INVALID: 400,
    ErrorKind.UNAUTHORIZED: 401,
    ErrorKind.NOT_FOUND: 404,
    ErrorKind.METHOD: 405,
    ErrorKind.TOO_LARGE: 413,
    ErrorKind.MALFORMED: 422,
    ErrorKind.OVERLOADED: 429,
    ErrorKind.INTERNAL: 500,
    ErrorKind.UNAVAILABLE: 503,
    ErrorKind.DEADLINE: 504,
}
_KIND = {status: kind for kind, status in _STATUS.items()}

# What proxies log for a client that went away; nobody receives it.
_CLIENT_CLOSED_REQUEST = 499

_OPENAI_PATHS = ("/v1/", "/tokenize", "/detokenize")
_OPENAI_TYPES = {
    ErrorKind.OVERLOADED: "rate_limit_error",
    ErrorKind.INTERNAL: "server_error",
    ErrorKind.UNAVAILABLE: "server_error",
    ErrorKind.DEADLINE: "server_error",
}


def speaks_openai(path: str) -> bool:
    """Whether a route's clients are OpenAI's. The others read `detail`."""
    return path.startswith(_OPENAI_PATHS) and not path.startswith(("/v1/generate", "/v1/models/info"))


def content(error: BerthError, path: str) -> dict[str, Any]:
    """The error as JSON, as clients of a path read it."""
    # A name that the client made up may hold half of a surrogate pair, which no JSON text can.
    message, param = _printable(error.message), _printable(error.param) if error.param else None
    if not speaks_openai(path):
        return {"detail": message, "code": error.kind.value, "param": param}
    code = "model_not_found" if error.kind is ErrorKind.NOT_FOUND and param == "model" else error.kind.value
    kind = _OPENAI_TYPES.get(error.kind, "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def status(error: BerthError, path: str) -> int:
    """The status of an error on a path. KAITO's clients know 422 for bodies that cannot be read, OpenAI's 400."""
    if error.kind is ErrorKind.MALFORMED and path != "/chat":
        return 400
    return _STATUS[error.kind]


def render(error: BerthError, path: str) -> Response:
    """The error as the answer to a request for a path."""
    note_error(error.kind)
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after is not None else None
    return JSONResponse(content(error, path), status_code=status(error, path), headers=headers)


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def install_error_handlers(app: FastAPI) -> None:
    """Every way in which a request can fail, rendered by `render`."""

    @app.exception_handler(BerthError)
    async def refused(request: Request, error: BerthError) -> Response:
        return render(error, request.url.path)

    @app.exception_handler(ClientGone)
    async def gone(_: Request, __: ClientGone) -> Response:
        return Response(status_code=_CLIENT_CLOSED_REQUEST)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> Response:
        problems: Sequence[dict[str, Any]] = error.errors()
        path = request.url.path
        return render(describe(problems, request.headers.get("content-type"), path), path)

    @app.exception_handler(HTTPException)
    async def framework(request: Request, error: HTTPException) -> Response:
        path = request.url.path
        kind = _KIND.get(error.status_code, ErrorKind.INVALID)
        if kind is ErrorKind.TOO_LARGE:
            return render(BerthError(kind, error.detail), path)
        if kind is ErrorKind.INVALID:
            kind = ErrorKind.MALFORMED
        response = render(BerthError(kind, f"{error.detail}: {request.method} {path}"), path)
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        path = request.url.path
        _log.error("%s %s failed", request.method, path, exc_info=error)
        failed = BerthError(ErrorKind.INTERNAL, "The request failed; the server's log says why.")
        response = render(failed, path)
        # This answer is sent around every middleware, the one that names requests included.
        response.headers[REQUEST_ID] = request.state.request_id
        return response
