"""OpenAPI v3 documents: the schemas that are enforced, and which requests a kind takes.

kubectl reads them to learn that the server checks fields itself, and for `kubectl explain`. A patch names the content
types that it may have; strategic merge patch is left out on purpose, so that kubectl takes its own built-in
knowledge of how lists merge, which is the same.
"""

from typing import Any

from berth_local.apiserver.kinds.registry import Registry
from berth_local.apiserver.kinds.resource import Resource
from berth_local.apiserver.objects import Object, encode
from berth_local.apiserver.schema.builtin import bare_type, descriptions

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
    found = descriptions(resource.model)
    definitions = {_local(name): _plain(one) for name, one in (found.get("$defs") or {}).items()}
    return definitions | {_name(resource): _plain(found) | identity}


_TYPE = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}


def _local(model: str) -> str:
    return f"io.k8s.api.v1.{bare_type(model)}"


def _plain(schema: Any) -> Any:
    """Return a model's JSON schema in OpenAPI 3.0's words."""
    if isinstance(schema, list):
        return [_plain(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    choices = [one for one in schema.get("anyOf") or () if one.get("type") != "null"]
    kept: Object = (
        {"description": schema["description"].partition("\n\nAttributes:")[0]}
        if "description" in schema
        else {}
    )
    if len(choices) == 1:
        return kept | _plain(choices[0])
    if choices:
        return kept | {"oneOf": _plain(choices), "x-kubernetes-int-or-string": True}
    if "$ref" in schema:
        return kept | {
            "allOf": [{"$ref": f"#/components/schemas/{_local(schema['$ref'].rpartition('/')[2])}"}]
        }
    kept |= {key: schema[key] for key in ("type", "format", "required") if key in schema}
    if "properties" in schema:
        kept["properties"] = {name: _plain(one) for name, one in schema["properties"].items()}
    if "items" in schema:
        kept["items"] = _plain(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        kept["additionalProperties"] = _plain(schema["additionalProperties"])
    return kept
