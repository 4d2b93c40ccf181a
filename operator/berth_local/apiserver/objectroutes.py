"""Requests about objects: one function per verb."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

from aiohttp import web

from berth_local.apiserver import patching
from berth_local.apiserver.bodies import JSON, YAML, check_identity, decode, read_object
from berth_local.apiserver.context import Context
from berth_local.apiserver.deletion import delete
from berth_local.apiserver.errors import (
    ApiError,
    Cause,
    bad_request,
    invalid,
    method_not_allowed,
    not_found,
    unsupported_media,
)
from berth_local.apiserver.kinds.resource import Resource
from berth_local.apiserver.lists import list_answer, select, selection
from berth_local.apiserver.negotiation import METADATA, OBJECT, TABLE, form
from berth_local.apiserver.objects import Object, encode
from berth_local.apiserver.options import WriteOptions, delete_options, truth, write_options
from berth_local.apiserver.protobuf import PROTOBUF
from berth_local.apiserver.store import Stored
from berth_local.apiserver.subresources import bind, pod_log, read_scale, write_scale
from berth_local.apiserver.tables import partial, table
from berth_local.apiserver.targets import Target
from berth_local.apiserver.watches import Watch

Route = Callable[[Context, web.Request, Target], Awaitable[web.StreamResponse]]


async def handle(context: Context, request: web.Request, target: Target) -> web.StreamResponse:
    """Answer a request about an object or a collection."""
    if target.subresource in _SPECIAL:
        route = _SPECIAL[target.subresource].get(request.method)
    elif target.name:
        route = _SINGLE.get(request.method)
    else:
        route = _COLLECTION.get(request.method)
    if route is None:
        if request.method == "PUT" and not target.name and target.resource.custom:
            raise bad_request("name must be provided")
        raise method_not_allowed()
    if request.method == "POST" and target.resource.namespaced and not target.namespace:
        raise method_not_allowed()
    if request.method in ("POST", "PUT") and request.content_type not in (JSON, YAML, PROTOBUF):
        raise unsupported_media([JSON, YAML, PROTOBUF])
    return await route(context, request, target)


def found(context: Context, target: Target) -> Stored:
    """Return the object that a request is about; ApiError 404 when there is none."""
    stored = context.store.get(target.resource.table, target.key)
    if stored is None:
        raise not_found(target.resource.group, target.resource.plural, target.name)
    return stored


def shown(
    request: web.Request,
    resource: Resource,
    stored: Stored,
    code: int = 200,
    warnings: list[str] | None = None,
) -> web.Response:
    """Answer with an object in the form that the client takes."""
    wanted = form(request.headers.get("Accept", "*/*"))
    if wanted == TABLE:
        meta = {"resourceVersion": str(stored.revision)}
        body = encode(table(resource, [stored], meta, request.query.get("includeObject", "Metadata")))
    elif wanted == METADATA:
        body = encode(partial(stored))
    else:
        body = resource.encoded(stored)
    response = web.Response(body=body, status=code, content_type=JSON)
    for text in warnings or ():
        clean = "".join(sign if " " <= sign <= "~" else "?" for sign in text)
        quoted = clean.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{quoted}"')
    return response


async def _get(context: Context, request: web.Request, target: Target) -> web.StreamResponse:
    if truth(request.query.get("watch")):
        return await _watch(context, request, target)
    return shown(request, target.resource, found(context, target), warnings=_deprecation(target.resource))


def _deprecation(resource: Resource) -> list[str]:
    return [resource.custom.deprecation] if resource.custom and resource.custom.deprecation else []


async def _list(context: Context, request: web.Request, target: Target) -> web.StreamResponse:
    if truth(request.query.get("watch")):
        return await _watch(context, request, target)
    wanted = form(request.headers.get("Accept", "*/*"))
    body = list_answer(context.store, target.resource, target.namespace, request.query, wanted)
    response = web.Response(body=body, content_type=JSON)
    for text in _deprecation(target.resource):
        response.headers.add("Warning", f'299 - "{text}"')
    return response


async def _watch(context: Context, request: web.Request, target: Target) -> web.StreamResponse:
    wanted = form(request.headers.get("Accept", "*/*"))
    watch = Watch(context.store, target.resource, target.namespace, request.query, wanted, target.name)
    response = web.StreamResponse(headers={"Content-Type": JSON})
    with suppress(ConnectionResetError):  # whoever watched has gone
        await response.prepare(request)
        async for lines in watch.lines(context.closing):
            await response.write(lines)
        await response.write_eof()
    return response


async def _create(context: Context, request: web.Request, target: Target) -> web.StreamResponse:
    resource = target.resource
    options = write_options(request.query, request.headers.get("User-Agent", ""), "CreateOptions")
    raw = read_object(await request.read(), request.content_type, resource.kind)
    check_identity(resource, raw)
    body = decode(resource, raw, options)
    stored = context.writer.create(resource, target.namespace, body, options)
    return shown(request, resource, stored, 201, options.warnings)


async def _update(context: Context, request: web.Request, target: Target) -> web.StreamResponse:
    resource = target.resource
    options = write_options(request.query, request.headers.get("User-Agent", ""), "UpdateOptions")
    raw = read_object(await request.read(), request.content_type, resource.kind)
    check_identity(resource, raw)
    body = decode(resource, raw, options)
    meta = body["metadata"]
    if meta.get("name", "") != target.name:
        raise bad_request(
            f"the name of the object ({meta.get('name', '')}) does not match the name on the URL ({target.name})"
        )
    if target.namespace and meta.get("namespace", target.namespace) != target.namespace:
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    old = found(context, target)
    if not resource.unconditional and not meta.get("resourceVersion"):
        cause = Cause("metadata.resourceVersion", "Invalid value: 0: must be specified for an update")
        raise invalid(resource.group, resource.plural, target.name, [cause])
    stored = context.writer.replace(resource, old, body, options, target.subresource)
    return shown(request, resource, stored, warnings=options.warnings)


async def _patch(context: Context, request: web.Request, target: Target) -> web.StreamResponse:
    apply = request.content_type == patching.APPLY_PATCH
    agent = request.headers.get("User-Agent", "")
    options = write_options(request.query, agent, "PatchOptions", apply=apply)
    data = await request.read()
    stored, new = patching.patch(
        context.writer, target.resource, target.key, data, request.content_type, options, target.subresource
    )
    return shown(request, target.resource, stored, 201 if new else 200, options.warnings)


async def _delete_body(request: web.Request) -> Object:
    data = await request.read()
    return read_object(data, request.content_type, "DeleteOptions") if data.strip() else {}


async def _delete(context: Context, request: web.Request, target: Target) -> web.StreamResponse:
    resource = target.resource
    options = delete_options(request.query, await _delete_body(request))
    stored, gone = delete(context.store, resource, target.key, options)
    if not gone or resource.returns_deleted:
        return shown(request, resource, stored)
    details = {"name": target.name, "group": resource.group, "kind": resource.plural}
    details = {key: value for key, value in details.items() if value}
    status: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    status["details"] = details | {"uid": stored.body["metadata"].get("uid", "")}
    return web.Response(body=encode(status), content_type=JSON)


async def _delete_all(context: Context, request: web.Request, target: Target) -> web.StreamResponse:
    resource = target.resource
    if resource.namespaced and not target.namespace:
        raise method_not_allowed()
    options = delete_options(request.query, await _delete_body(request))
    chosen = select(context.store, resource, target.namespace, selection(resource, request.query))
    deleted: list[Stored] = []
    for stored in chosen:
        try:
            deleted.append(delete(context.store, resource, stored.key, options)[0])
        except ApiError as error:
            if error.code != 404:
                raise
    head: Object = {"kind": resource.list_kind, "apiVersion": resource.api_version}
    head["metadata"] = {"resourceVersion": str(context.store.revision)} | (
        {"continue": ""} if resource.custom else {}
    )
    items = b",".join(resource.encoded_item(one) for one in deleted)
    return web.Response(body=encode(head)[:-1] + b',"items":[' + items + b"]}", content_type=JSON)


_COLLECTION: dict[str, Route] = {"GET": _list, "POST": _create, "DELETE": _delete_all}
_SINGLE: dict[str, Route] = {"GET": _get, "PUT": _update, "PATCH": _patch, "DELETE": _delete}
_STATUS: dict[str, Route] = {"GET": _get, "PUT": _update, "PATCH": _patch}
_SPECIAL: dict[str, dict[str, Route]] = {
    "status": _STATUS,
    "log": {"GET": pod_log},
    "binding": {"POST": bind},
    "scale": {"GET": read_scale, "PUT": write_scale, "PATCH": write_scale},
}
__all__ = ["OBJECT", "WriteOptions", "found", "handle", "shown"]
