"""From HTTP requests to the parts that answer them, and back."""

import asyncio
import ipaddress
import logging
from collections.abc import Awaitable, Callable
from urllib.parse import unquote, urlsplit

from aiohttp import web

from berth_local.apiserver import inforoutes, objectroutes
from berth_local.apiserver.context import Context
from berth_local.apiserver.errors import ApiError, bad_request, too_large
from berth_local.apiserver.objects import encode
from berth_local.apiserver.targets import target

_log = logging.getLogger(__name__)

BODY_BYTES = 3 * 1024 * 1024
"""The largest request body, as on a cluster."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(context: Context) -> web.Application:
    """Return the web application of a server."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            _check_origin(request)
            return await _dispatch(context, request)
        except ApiError as error:
            headers = {"Retry-After": "1"} if error.code in (429, 504) else None
            return answer(error.status(), error.code, headers)
        except web.HTTPRequestEntityTooLarge:
            refusal = too_large(BODY_BYTES)
            return answer(refusal.status(), refusal.code)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:
            _log.exception("%s %s failed", request.method, request.path)
            wrapped = ApiError(
                500, "InternalError", f"Internal error occurred: {type(error).__name__}: {error}"
            )
            return answer(wrapped.status(), 500)

    app = web.Application(client_max_size=BODY_BYTES)
    app.router.add_route("*", "/{path:.*}", handle)
    return app


def answer(value: object, code: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Return a JSON answer."""
    return web.Response(body=encode(value), status=code, content_type="application/json", headers=headers)


def _check_origin(request: web.Request) -> None:
    """Refuse what a web page in the user's browser may have sent: this server knows no passwords."""
    for given in (f"//{request.headers.get('Host', '')}", request.headers.get("Origin", "")):
        try:
            host = urlsplit(given).hostname or ""
        except ValueError:
            host = "?"
        if host and not is_loopback(host):
            message = f"this server answers programs on this machine only, not {host!r}"
            raise ApiError(403, "Forbidden", message)


def is_loopback(host: str) -> bool:
    """Say whether a host is an address of this machine alone, or its usual name."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _dispatch(context: Context, request: web.Request) -> web.StreamResponse:
    raw = request.rel_url.raw_path.strip("/")
    parts = [unquote(part) for part in raw.split("/")]
    if "" in parts[1:]:
        raise bad_request(f"the path {request.path!r} has an empty part")
    if parts[0] in ("api", "apis"):
        found = target(context.registry, parts)
        if found is not None:
            return await objectroutes.handle(context, request, found)
    known = await inforoutes.handle(context, request, parts)
    if known is not None:
        return known
    return web.Response(text="404 page not found\n", status=404)
