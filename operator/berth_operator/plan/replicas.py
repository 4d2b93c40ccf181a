"""Who says how many pods run: `resource.count`, or something that scales the Deployment itself."""

from typing import Any

from berth_operator.api.names import ANNOTATION_REPLICAS, REPLICAS_EXTERNAL
from berth_operator.api.workspace import Workspace
from berth_operator.plan.observed import is_put_aside


def scales_itself(workspace: Workspace) -> bool:
    """Whether an autoscaler, or a person, sets the Deployment's replicas, and Berth leaves them alone."""
    return workspace.metadata.annotations.get(ANNOTATION_REPLICAS) == REPLICAS_EXTERNAL


def with_live_replicas(deployment: dict[str, Any], live: dict[str, Any] | None) -> dict[str, Any]:
    """Return the Deployment with the number of replicas that stands in the cluster, where there is one.

    The field stays named: a field that its only manager stops naming is removed, and a Deployment without it runs
    one pod. The live object's version goes along, so that a scaling that happened meanwhile is a conflict and not
    undone. One that was put aside has none because of that.
    """
    if live is None or is_put_aside(live) or not isinstance((live.get("spec") or {}).get("replicas"), int):
        return deployment
    version = live["metadata"].get("resourceVersion")
    metadata = {**deployment["metadata"], **({"resourceVersion": version} if version else {})}
    return {
        **deployment,
        "metadata": metadata,
        "spec": {**deployment["spec"], "replicas": live["spec"]["replicas"]},
    }
