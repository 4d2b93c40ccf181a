"""Requests about scale, a pod's log and its binding to a node."""

from aiohttp import web

from berth_local.apiserver.bodies import JSON, read_object
from berth_local.apiserver.context import Context
from berth_local.apiserver.errors import ApiError, bad_request, conflict, not_found, unsupported_media
from berth_local.apiserver.logs import log_options
from berth_local.apiserver.objects import Object, clone, dig, encode, now
from berth_local.apiserver.options import write_options
from berth_local.apiserver.patching import JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, patched_object
from berth_local.apiserver.scale import scale_of, scaled
from berth_local.apiserver.store import Stored
from berth_local.apiserver.targets import Target


def _found(context: Context, target: Target) -> Stored:
    stored = context.store.get(target.resource.table, target.key)
    if stored is None:
        raise not_found(target.resource.group, target.resource.plural, target.name)
    return stored


async def read_scale(context: Context, request: web.Request, target: Target) -> web.StreamResponse:
    """Answer with an object's Scale."""
    return web.Response(body=encode(scale_of(_found(context, target).body)), content_type=JSON)


async def write_scale(context: Context, request: web.Request, target: Target) -> web.StreamResponse:
    """Change the replicas by a Scale or a patch of one."""
    data = await request.read()
    options = write_options(request.query, request.headers.get("User-Agent", ""), "UpdateOptions")
    old = _found(context, target)
    if request.method == "PUT":
        scale = read_object(data, request.content_type, "Scale")
    elif request.content_type in (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH):
        kind = JSON_PATCH if request.content_type == JSON_PATCH else MERGE_PATCH
        scale = patched_object(target.resource, scale_of(old.body), data, kind)
    else:
        raise unsupported_media([JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH])
    body = scaled(old.body, scale)
    stored = context.writer.replace(target.resource, old, body, options, "scale")
    return web.Response(body=encode(scale_of(stored.body)), content_type=JSON)


async def bind(context: Context, request: web.Request, target: Target) -> web.StreamResponse:
    """Give a pod to a node."""
    binding = read_object(await request.read(), request.content_type, "Binding")
    node = dig(binding, "target", "name")
    old = _found(context, target)
    if not isinstance(node, str) or not node:
        raise bad_request("a binding must name its node in target.name")
    if dig(old.body, "spec", "nodeName"):
        why = f'pod {target.name} is already assigned to node "{old.body["spec"]["nodeName"]}"'
        raise conflict("", "pods/binding", target.name, why)
    body: Object = clone(old.body)
    body["spec"]["nodeName"] = node
    conditions = [one for one in body["status"].get("conditions") or () if one.get("type") != "PodScheduled"]
    made = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now()}
    body["status"]["conditions"] = [*conditions, made]
    context.store.put(target.resource.table, body)
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
    return web.Response(body=encode(status), status=201, content_type=JSON)


async def pod_log(context: Context, request: web.Request, target: Target) -> web.StreamResponse:
    """Stream a container's log from the node agent."""
    pod = _found(context, target).body
    options = log_options(pod, request.query)
    if not dig(pod, "spec", "nodeName"):
        raise bad_request(f"pod {target.name} does not have a host assigned")
    if context.pod_logs is None:
        raise ApiError(503, "ServiceUnavailable", "no node agent provides logs to this server")
    source = context.pod_logs(pod, options)
    try:
        first = await anext(source, None)
    except LookupError as error:
        raise bad_request(str(error.args[0] if error.args else error)) from None
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    left = options.limit_bytes
    chunk = first
    while chunk is not None and left != 0 and not context.closing.is_set():
        part = chunk if left is None else chunk[:left]
        left = None if left is None else left - len(part)
        await response.write(part)
        chunk = await anext(source, None)
    await response.write_eof()
    return response
