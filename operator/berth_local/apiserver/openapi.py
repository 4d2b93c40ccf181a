"""OpenAPI v3 documents: the schemas that are enforced, and which requests a kind takes.

kubectl reads them to learn that the server checks fields itself, and for `kubectl explain`. A patch names the content
types that it may have; strategic merge patch is left out on purpose, so that kubectl takes its own built-in
knowledge of how lists merge, which is the same.
"""

from berth_local.apiserver.kinds.registry import Registry
from berth_local.apiserver.kinds.resource import Resource
from berth_local.apiserver.objects import Object, encode
from berth_local.apiserver.schema.builtin import builtin_schema
from berth_local.apiserver.schema.node import Node

_QUERY = ("dryRun", "fieldManager", "fieldValidation", "force")


def index(registry: Registry) -> Object:
    """Answer /openapi/v3: where the document of each group's version is."""
    paths: Object = {}
    for group, versions in registry.groups().items():
        for version in versions:
            path = f"apis/{group}/{version}" if group else f"api/{version}"
            paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}"}
    return {"paths": paths}


def document(registry: Registry, group: str, version: str) -> bytes | None:
    """Answer /openapi/v3/apis/<group>/<version>; None when that is not served."""
    if version not in registry.groups().get(group, ()):
        return None
    paths: Object = {}
    schemas: Object = {}
    for resource in registry.in_version(group, version):
        schemas |= _schemas(resource)
        paths |= _paths(resource)
    info = {"title": "Berth embedded control plane", "version": "v1.32.0"}
    return encode({"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas}})


def _name(resource: Resource) -> str:
    group = ".".join(reversed((resource.group or "core.api.k8s.io").split(".")))
    return f"{group}.{resource.version}.{resource.kind}"


def _identity(resource: Resource) -> Object:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _paths(resource: Resource) -> Object:
    root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    place = (
        f"{root}/namespaces/{{namespace}}/{resource.plural}"
        if resource.namespaced
        else f"{root}/{resource.plural}"
    )
    reference = {"schema": {"$ref": f"#/components/schemas/{_name(resource)}"}}
    answer = {"200": {"description": "OK", "content": {"application/json": reference}}}
    query = [
        {"name": name, "in": "query", "schema": {"type": "boolean" if name == "force" else "string"}}
        for name in _QUERY
    ]
    types = ["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"]

    def operation(action: str, *, body: list[str] | None = None) -> Object:
        made: Object = {"x-kubernetes-action": action, "x-kubernetes-group-version-kind": _identity(resource)}
        if body:
            made["parameters"] = query
            made["requestBody"] = {"content": dict.fromkeys(body, reference)}
        return made | {"responses": answer}

    single = {
        "get": operation("get"),
        "put": operation("put", body=["application/json"]),
        "patch": operation("patch", body=types),
        "delete": operation("delete"),
    }
    return {
        place: {"get": operation("list"), "post": operation("post", body=["application/json"])},
        f"{place}/{{name}}": single,
    }


def _schemas(resource: Resource) -> Object:
    identity = {"x-kubernetes-group-version-kind": [_identity(resource)]}
    if resource.custom:
        schema = dict(resource.custom.document)
        schema["properties"] = {**_TYPE, **(schema.get("properties") or {})}
        return {_name(resource): schema | identity}
    schemas: Object = {}
    root = _rendered(builtin_schema(resource.model), schemas, whole=True)
    return schemas | {_name(resource): root | identity}


_TYPE = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}


def _rendered(node: Node, schemas: Object, *, whole: bool = False) -> Object:
    """Return a node in OpenAPI's words; named types are put into `schemas` and referred to."""
    if node.title and not whole:
        name = f"io.k8s.api.v1.{node.title}"
        if name not in schemas:
            schemas[name] = {}
            schemas[name] = _rendered(node, schemas, whole=True)
        return {"allOf": [{"$ref": f"#/components/schemas/{name}"}]}
    if node.int_or_string:
        return {"oneOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}
    if not node.type:
        return {"x-kubernetes-preserve-unknown-fields": True}
    made: Object = {"type": node.type} | ({"format": node.format} if node.format else {})
    if node.properties:
        made["properties"] = {name: _described(node, name, schemas) for name in node.properties}
    if node.additional:
        made["additionalProperties"] = _rendered(node.additional, schemas)
    if node.items:
        made["items"] = _rendered(node.items, schemas)
        made["x-kubernetes-list-type"] = node.list_type
    if node.keys:
        made["x-kubernetes-list-map-keys"] = list(node.keys)
    if node.atomic:
        made["x-kubernetes-map-type"] = "atomic"
    return made


def _described(node: Node, name: str, schemas: Object) -> Object:
    made = _rendered(node.properties[name], schemas)
    text = node.descriptions.get(name)
    return {"description": text, **made} if text else made
