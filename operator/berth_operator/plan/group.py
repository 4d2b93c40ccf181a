"""A group: the pods that hold one copy of a model together, made by a StatefulSet, and how they find each other."""

from collections.abc import Sequence
from typing import Any, Final

from berth_operator.api.names import (
    ANNOTATION_BYPASS,
    ANNOTATION_ROLLOUT,
    LABEL_GROUP,
    LABEL_WORKSPACE,
    ROLLOUT_SURGE,
)
from berth_operator.api.workspace import Workspace
from berth_operator.plan.deployment import REVISION_HISTORY
from berth_operator.plan.differences import digest
from berth_operator.plan.metadata import ANNOTATION_RENDERED, child_metadata, labels
from berth_operator.plan.observed import Object, annotations, is_of_group, revision_of
from berth_operator.plan.placement import with_node_affinity
from berth_operator.plan.reasons import Finding, Reason
from berth_operator.plan.replicas import scales_itself
from berth_operator.presets import Preset

NAME_LIMIT: Final = 52
"""Characters of a StatefulSet's name: with a hash it is a label's value on its pods, which may have 63."""

GROUP_PORT: Final = 29400
"""At which the first pod waits for the others before vLLM starts."""


def peers_name(name: str) -> str:
    """Return the name of the Service by which the pods of a Workspace's group find each other."""
    return f"{name}-peers"


def first_pod(name: str) -> str:
    """Return the name of the pod of a Workspace's group that answers requests."""
    return f"{name}-0"


def address_of_first(name: str) -> str:
    """Return the name by which the group's pods, of its own namespace, reach the first."""
    return f"{first_pod(name)}.{peers_name(name)}"


def may_be_grouped(workspace: Workspace, preset: Preset) -> bool:
    """Whether the pods of a Workspace of vLLM's may hold one copy together, if one node cannot.

    Not where somebody insists that a node can, nor where something else scales the pods, which a group cannot be.
    """
    metadata = workspace.metadata
    return (
        1 < workspace.resource.count <= preset.model.layers
        and not scales_itself(workspace)
        and ANNOTATION_BYPASS not in metadata.annotations
    )


def name_refusal(workspace: Workspace) -> Finding | None:
    """Return why a group cannot have the Workspace's name, or None."""
    name = workspace.metadata.name
    if len(name) <= NAME_LIMIT:
        return None
    return Finding(
        Reason.NOT_SUPPORTED,
        f"the model does not fit on one node, and a group of nodes can have a name of {NAME_LIMIT} characters; this "
        f"Workspace's has {len(name)}",
        "give it a shorter name: delete it, and apply it again under another",
        terminal=True,
        cause="name",
    )


def group_warnings(workspace: Workspace) -> tuple[Finding, ...]:
    """Return what a Workspace asks for that has no effect on a group: said, and not held against it."""
    if workspace.metadata.annotations.get(ANNOTATION_ROLLOUT) != ROLLOUT_SURGE:
        return ()
    return (
        Finding(
            Reason.NOT_SUPPORTED,
            f"annotation {ANNOTATION_ROLLOUT}: {ROLLOUT_SURGE} has no effect here: pods that hold a model together are "
            "replaced all at once",
            "remove it",
            cause=ANNOTATION_ROLLOUT,
        ),
    )


def is_as_meant(live: Object | None, wanted: dict[str, Any]) -> bool:
    """Whether a live object is what was meant, whatever others have made of it since."""
    return live is not None and annotations(live).get(ANNOTATION_RENDERED) == annotations(wanted).get(
        ANNOTATION_RENDERED
    )


def render_group(workspace: Workspace, pod_spec: dict[str, Any]) -> dict[str, Any]:
    """Return the StatefulSet of `resource.count` pods that hold one copy of the model."""
    name = workspace.metadata.name
    spec: dict[str, Any] = {
        "replicas": workspace.resource.count,
        "serviceName": peers_name(name),
        "selector": {"matchLabels": {LABEL_WORKSPACE: name}},
        # None of them can serve before all are there.
        "podManagementPolicy": "Parallel",
        # One at a time would join two templates in one group: `next_step` replaces all of them together.
        "updateStrategy": {"type": "OnDelete"},
        "revisionHistoryLimit": REVISION_HISTORY,
        "template": {
            "metadata": {"labels": {**labels(workspace), LABEL_GROUP: name}},
            "spec": with_node_affinity(pod_spec, workspace.resource),
        },
    }
    metadata = {**child_metadata(workspace), "annotations": {ANNOTATION_RENDERED: digest(spec)}}
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": spec}


def render_peers(workspace: Workspace) -> dict[str, Any]:
    """Return the Service that gives each pod of the group a name, before it is ready: it is not until all are."""
    name = workspace.metadata.name
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {**child_metadata(workspace), "name": peers_name(name)},
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {LABEL_GROUP: name},
            "ports": [{"name": "group", "port": GROUP_PORT, "targetPort": GROUP_PORT, "protocol": "TCP"}],
        },
    }


def next_step(wanted: dict[str, Any], live: Object | None, pods: Sequence[Object]) -> dict[str, Any]:
    """Return the StatefulSet to apply now: with no pods while there are some of another template.

    `pods` are all of the Workspace's, those that are ending included. A group is replaced as a whole: its pods end,
    which frees their GPUs, and once the last is gone the new ones start. What stands in the cluster says how far that
    is, so that it goes on after a restart.
    """
    mine = [pod for pod in pods if is_of_group(pod)]
    if live is None or not mine:
        return wanted
    status = live.get("status") or {}
    seen = status.get("observedGeneration", 0) >= live["metadata"].get("generation", 1)
    latest = status.get("updateRevision") if seen else None
    another = not is_as_meant(live, wanted)
    stale = latest is not None and any(revision_of(pod) != latest for pod in mine)
    if another or stale or not (live.get("spec") or {}).get("replicas"):
        return {**wanted, "spec": {**wanted["spec"], "replicas": 0}}
    return wanted
