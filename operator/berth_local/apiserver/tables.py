"""Tables: what the API server prepares for `kubectl get` to print."""

from collections.abc import Iterable

from berth_local.apiserver.kinds.columns import DEFAULT
from berth_local.apiserver.kinds.resource import Column, Resource
from berth_local.apiserver.objects import Object
from berth_local.apiserver.store import Stored

_DESCRIPTION = "Name must be unique within a namespace."


def table(
    resource: Resource, objects: Iterable[Stored], meta: Object, include: str, *, headed: bool = True
) -> Object:
    """Return a Table of objects. `include` says what each row carries: None, Metadata or Object."""
    columns = resource.columns or DEFAULT
    result: Object = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta}
    result["columnDefinitions"] = [_heading(column) for column in columns] if headed else []
    result["rows"] = [_row(resource, columns, stored, include) for stored in objects]
    return result


def _heading(column: Column) -> Object:
    return {
        "name": column.name,
        "type": column.type,
        "format": column.format,
        "description": column.description or (_DESCRIPTION if column.format == "name" else ""),
        "priority": column.priority,
    }


def _row(resource: Resource, columns: Iterable[Column], stored: Stored, include: str) -> Object:
    row: Object = {"cells": [column.cell(stored.body) for column in columns]}
    if include == "Object":
        row["object"] = resource.view(stored)
    elif include != "None":
        row["object"] = partial(stored)
    return row


def partial(stored: Stored) -> Object:
    """Return an object's metadata alone."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": stored.body["metadata"],
    }
