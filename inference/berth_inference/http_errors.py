"""Errors as HTTP answers. No traceback and no path ever leaves the process."""

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


def render(error: BerthError) -> Response:
    """The answer of the routes that have no dialect of their own: `detail`, `code` and `param`."""
    note_error(error.kind)
    # A name that the client made up may hold half of a surrogate pair, which no JSON text can.
    content = {
        "detail": _printable(error.message),
        "code": error.kind.value,
        "param": _printable(error.param) if error.param else None,
    }
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after is not None else None
    return JSONResponse(content, status_code=_STATUS[error.kind], headers=headers)


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def install_error_handlers(app: FastAPI) -> None:
    """Every way in which a request can fail, rendered by `render`."""

    @app.exception_handler(BerthError)
    async def refused(_: Request, error: BerthError) -> Response:
        return render(error)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> Response:
        problems: Sequence[dict[str, Any]] = error.errors()
        return render(describe(problems, request.headers.get("content-type")))

    @app.exception_handler(HTTPException)
    async def framework(request: Request, error: HTTPException) -> Response:
        kind = _KIND.get(error.status_code, ErrorKind.INVALID)
        if kind is ErrorKind.TOO_LARGE:
            return render(BerthError(kind, error.detail))
        if kind is ErrorKind.INVALID:
            kind = ErrorKind.MALFORMED
        response = render(BerthError(kind, f"{error.detail}: {request.method} {request.url.path}"))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        response = render(BerthError(ErrorKind.INTERNAL, "The request failed; the server's log says why."))
        # This answer is sent around every middleware, the one that names requests included.
        response.headers[REQUEST_ID] = request.state.request_id
        return response
