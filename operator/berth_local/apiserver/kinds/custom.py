"""Resources that CustomResourceDefinitions add: read from the definition, judged as the API server judges it."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from jsonschema import Draft4Validator
from jsonschema.exceptions import SchemaError

from berth_local.apiserver.errors import Cause
from berth_local.apiserver.kinds.columns import AGE, NAME
from berth_local.apiserver.kinds.durations import age
from berth_local.apiserver.kinds.jsonpath import compile_path
from berth_local.apiserver.kinds.resource import Column, Custom, Resource
from berth_local.apiserver.objects import Object, api_version, dig
from berth_local.apiserver.schema.node import from_crd
from berth_local.apiserver.schema.validation import ObjectValidator

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
"""The finalizer that keeps a definition until its objects are gone."""


def custom_resources(definition: Object) -> list[Resource]:
    """Return the resources that a valid CustomResourceDefinition serves, one per served version."""
    spec = definition["spec"]
    group, names = spec["group"], spec["names"]
    storage = next(one["name"] for one in spec["versions"] if one.get("storage"))
    resources = []
    for version in spec["versions"]:
        if not version.get("served"):
            continue
        document = dig(version, "schema", "openAPIV3Schema") or {}
        schema = from_crd(document)
        schema.properties.setdefault("metadata", _metadata())
        subresources = version.get("subresources") or {}
        custom = Custom(
            schema=schema,
            document=document,
            validator=ObjectValidator(document, schema),
            storage_version=api_version(group, storage),
            selectable=tuple(one["jsonPath"].lstrip(".") for one in version.get("selectableFields") or ()),
            deprecation=_deprecation(group, names["kind"], version),
        )
        resources.append(
            Resource(
                group, version["name"], names["plural"], names["kind"],
                namespaced=spec["scope"] == "Namespaced",
                singular=names.get("singular") or names["kind"].lower(),
                short_names=tuple(names.get("shortNames") or ()),
                categories=tuple(names.get("categories") or ()),
                subresources=("status",) if "status" in subresources else (),
                generation=True,
                unconditional=False,
                columns=_columns(version),
                custom=custom,
            )
        )  # fmt: skip
    return resources


def _metadata() -> Any:
    from berth_local.apiserver.schema.builtin import metadata_schema

    node = from_crd({"type": "object"})
    known = metadata_schema()
    node.properties, node.inline = known.properties, True
    return node


def _deprecation(group: str, kind: str, version: Object) -> str:
    if not version.get("deprecated"):
        return ""
    said = version.get("deprecationWarning")
    return str(said or f"{group}/{version['name']} {kind} is deprecated")


def _columns(version: Object) -> list[Column]:
    declared = version.get("additionalPrinterColumns")
    if not declared:
        return [NAME, AGE]
    return [NAME, *(_column(one) for one in declared)]


def _column(declared: Object) -> Column:
    return Column(
        declared["name"],
        _cell(compile_path(declared["jsonPath"]), declared["type"]),
        type=declared["type"],
        format=declared.get("format", ""),
        priority=int(declared.get("priority", 0)),
        description=declared.get("description", ""),
    )


def _cell(find: Callable[[Any], list[Any]], kind: str) -> Callable[[Object], object]:
    def cell(body: Object) -> object:
        found = find(body)
        if not found or found[0] is None:
            return None
        value = found[0]
        if kind == "date":
            return age(value)
        if kind in ("integer", "number"):
            return value if isinstance(value, int | float) and not isinstance(value, bool) else None
        if kind == "boolean":
            return value if isinstance(value, bool) else None
        if len(found) > 1:
            return ",".join(_text(one) for one in found)
        return _text(value)

    return cell


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def definition_faults(definition: Object) -> Iterator[Cause]:
    """Judge a CustomResourceDefinition; what is asked of schemas is what is needed to serve them."""
    spec = definition.get("spec") or {}
    names, group = spec.get("names") or {}, spec.get("group") or ""
    for name in ("group", "scope"):
        if not spec.get(name):
            yield Cause(f"spec.{name}", "Required value", "FieldValueRequired")
    for name in ("plural", "kind"):
        if not names.get(name):
            yield Cause(f"spec.names.{name}", "Required value", "FieldValueRequired")
    expected = f"{names.get('plural')}.{group}"
    if definition["metadata"].get("name") != expected:
        shown = json.dumps(definition["metadata"].get("name"))
        yield Cause("metadata.name", f'Invalid value: {shown}: must be spec.names.plural+"."+spec.group')
    if spec.get("scope") not in (None, "Namespaced", "Cluster"):
        listed = '"Cluster", "Namespaced"'
        message = f"Unsupported value: {json.dumps(spec['scope'])}: supported values: {listed}"
        yield Cause("spec.scope", message, "FieldValueNotSupported")
    strategy = dig(spec, "conversion", "strategy")
    if strategy not in (None, "None"):
        message = f'Unsupported value: {json.dumps(strategy)}: supported values: "None"'
        yield Cause("spec.conversion.strategy", message, "FieldValueNotSupported")
    versions = spec.get("versions") or []
    if sum(bool(one.get("storage")) for one in versions) != 1:
        yield Cause("spec.versions", "Invalid value: must have exactly one version marked as storage version")
    for index, version in enumerate(versions):
        yield from _version_faults(version, f"spec.versions[{index}]")


def _version_faults(version: Object, field: str) -> Iterator[Cause]:
    if not version.get("name"):
        yield Cause(f"{field}.name", "Required value", "FieldValueRequired")
    schema = dig(version, "schema", "openAPIV3Schema")
    if not schema:
        yield Cause(
            f"{field}.schema.openAPIV3Schema", "Required value: schemas are required", "FieldValueRequired"
        )
        return
    if schema.get("type") != "object":
        message = f"Invalid value: {json.dumps(schema.get('type'))}: must be object at the root"
        yield Cause(f"{field}.schema.openAPIV3Schema.type", message)
    try:
        Draft4Validator.check_schema({**schema, "id": "schema"})
    except SchemaError as error:
        yield Cause(f"{field}.schema.openAPIV3Schema", f"Invalid value: {error.message}")
    for number, column in enumerate(version.get("additionalPrinterColumns") or ()):
        place = f"{field}.additionalPrinterColumns[{number}]"
        for name in ("name", "type", "jsonPath"):
            if not column.get(name):
                yield Cause(f"{place}.{name}", "Required value", "FieldValueRequired")
        try:
            compile_path(str(column.get("jsonPath", "")))
        except ValueError as error:
            yield Cause(f"{place}.jsonPath", f"Invalid value: {error}")
