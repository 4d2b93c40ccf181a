"""What every object made for a Workspace carries: its labels and the owner that takes it along when deleted."""

from typing import Any

from berth_operator.api.names import (
    API_VERSION,
    KIND,
    LABEL_INSTANCE,
    LABEL_MANAGED_BY,
    LABEL_NAME,
    LABEL_WORKSPACE,
    MANAGED_BY,
)
from berth_operator.api.workspace import Workspace

ANNOTATION_RENDERED = "berth.dev/rendered"
"""On what makes the pods: the digest of what Berth meant it to be, so that a field no longer meant is noticed."""


def labels(workspace: Workspace) -> dict[str, str]:
    """Return the labels of the Workspace's objects and pods."""
    name = workspace.metadata.name
    return {
        LABEL_WORKSPACE: name,
        LABEL_NAME: "berth-inference",
        LABEL_INSTANCE: name,
        LABEL_MANAGED_BY: MANAGED_BY,
    }


def child_metadata(workspace: Workspace) -> dict[str, Any]:
    """Return the metadata of an object that bears the Workspace's name and belongs to it."""
    return {
        "name": workspace.metadata.name,
        "namespace": workspace.metadata.namespace,
        "labels": labels(workspace),
        "ownerReferences": [owner_reference(workspace)],
    }


def owner_reference(workspace: Workspace) -> dict[str, Any]:
    """Return the reference by which garbage collection deletes a child, so that no finalizer is needed."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": workspace.metadata.name,
        "uid": workspace.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def owner_of(child: dict[str, Any]) -> tuple[str, str] | None:
    """Return the kind and name of the owner that controls the object, or None."""
    references = child["metadata"].get("ownerReferences") or []
    return next(((item["kind"], item["name"]) for item in references if item.get("controller")), None)


def is_controlled_by(child: dict[str, Any], uid: str) -> bool:
    """Whether the owner with this uid controls the object."""
    references = child["metadata"].get("ownerReferences") or []
    return any(reference.get("controller") and reference.get("uid") == uid for reference in references)
