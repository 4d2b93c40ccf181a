"""The objects that are made for a Workspace: where they live, what is known of each, what becomes of one in the way."""

from typing import Final

from berth_operator.cluster_cache import DEPLOYMENTS, SERVICES, STATEFUL_SETS, Key, Object
from berth_operator.kube import Resource
from berth_operator.plan.differences import digest
from berth_operator.plan.metadata import ANNOTATION_RENDERED, owner_of
from berth_operator.plan.observed import Observed
from berth_operator.plan.reasons import Culprit, Finding, Reason
from berth_operator.plan.workload import Workload

Identity = tuple[Resource, Key]
"""Of which kind an object is, and its namespace and name."""

RESOURCES: Final = {"Deployment": DEPLOYMENTS, "StatefulSet": STATEFUL_SETS, "Service": SERVICES}

PUT_ASIDE: Final[Object] = {"metadata": {"annotations": {ANNOTATION_RENDERED: None}}, "spec": {"replicas": 0}}
"""What becomes of a Deployment that a StatefulSet takes over from, and the reverse: it needs no right to delete."""


def children(workload: Workload) -> list[Object]:
    """The objects of a workload, in the order in which they are made."""
    return [workload.deployment, *([workload.peers] if workload.peers else []), workload.service]


def identity(wanted: Object) -> Identity:
    """Return of which kind an object is, and its namespace and name."""
    return RESOURCES[wanted["kind"]], (wanted["metadata"]["namespace"], wanted["metadata"]["name"])


def watched(observed: Observed, resource: Resource, own: Key) -> Object | None:
    """Return what the watches have told of a child."""
    if resource is not SERVICES:
        return observed.deployment if resource is DEPLOYMENTS else observed.stateful_set
    services = (observed.service, observed.peers)
    return next((one for one in services if one is not None and one["metadata"]["name"] == own[1]), None)


def conflict(live: Object, wanted: Object) -> Finding:
    """Return why what bears the name of an object that is wanted is left alone."""
    culprit = Culprit(wanted["kind"], wanted["metadata"]["name"])
    if owner_of(live) == owner_of(wanted):
        return Finding(
            Reason.NAME_CONFLICT,
            f"{culprit} of the Workspace that had this name before is still being deleted",
            "wait",
            culprit,
            cause="deleted",
        )
    return Finding(
        Reason.NAME_CONFLICT,
        f"there is a {culprit} that this Workspace did not make",
        "rename or delete it, or give the Workspace another name",
        culprit,
        cause=wanted["kind"],
    )


def essence(live: Object) -> str:
    """Return the digest of what can be meant of an object: not its status, nor what changes with every write."""
    meta = {
        field: live["metadata"].get(field) for field in ("labels", "annotations", "ownerReferences", "uid")
    }
    return digest([meta, live.get("spec")])
