"""Answers about the server itself: version, health, discovery, OpenAPI, and access reviews."""

from aiohttp import web

from berth_local.apiserver import discovery, openapi
from berth_local.apiserver.bodies import read_object
from berth_local.apiserver.context import Context
from berth_local.apiserver.errors import method_not_allowed
from berth_local.apiserver.objects import Object, encode
from berth_local.apiserver.protobuf import PROTOBUF

_HEALTH = ("healthz", "livez", "readyz")
_REVIEWS = ["apis", "authorization.k8s.io", "v1", "selfsubjectaccessreviews"]


async def handle(context: Context, request: web.Request, parts: list[str]) -> web.Response | None:
    """Answer a request that is not about an object; None when the path is unknown."""
    if parts == _REVIEWS:
        return await _review(request)
    value = _value(context, request, parts)
    if value is None:
        return None
    if request.method not in ("GET", "HEAD"):
        raise method_not_allowed()
    return value


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


def _value(context: Context, request: web.Request, parts: list[str]) -> web.Response | None:
    registry = context.registry
    if parts[0] in _HEALTH:
        return web.Response(text="ok")
    if (
        parts[0] in ("api", "apis")
        and len(parts) == 1
        and discovery.wants_aggregated(request.headers.get("Accept", ""))
    ):
        body = encode(discovery.aggregated(registry, core=parts[0] == "api"))
        return web.Response(body=body, headers={"Content-Type": discovery.AGGREGATED})
    if parts[:2] == ["openapi", "v3"] and len(parts) > 2:
        group, version = (
            ("", parts[-1]) if parts[2] == "api" else (parts[3] if len(parts) > 3 else "", parts[-1])
        )
        document = openapi.document(registry, group, version)
        return _json(document) if document is not None else None
    value: Object | None = None
    match parts:
        case [""]:
            value = {
                "paths": [
                    "/api",
                    "/api/v1",
                    "/apis",
                    "/healthz",
                    "/livez",
                    "/openapi/v3",
                    "/readyz",
                    "/version",
                ]
            }
        case ["version"]:
            value = discovery.VERSION
        case ["openapi", "v3"]:
            value = openapi.index(registry)
        case ["api"]:
            value = discovery.api_versions(request.host)
        case ["api", version]:
            value = discovery.resource_list(registry, "", version)
        case ["apis"]:
            value = discovery.group_list(registry)
        case ["apis", group]:
            value = discovery.group(registry, group)
        case ["apis", group, version]:
            value = discovery.resource_list(registry, group, version)
    return None if value is None else _json(encode(value))


async def _review(request: web.Request) -> web.Response:
    """Answer that everything is allowed: there are no users here."""
    if request.method != "POST":
        raise method_not_allowed()
    review: Object = {"spec": {}}
    if request.content_type != PROTOBUF:
        review = read_object(await request.read(), request.content_type, "SelfSubjectAccessReview")
    review |= {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1"}
    review["status"] = {"allowed": True, "reason": "the embedded control plane knows no users"}
    return web.Response(body=encode(review), status=201, content_type="application/json")
