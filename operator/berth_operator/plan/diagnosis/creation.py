"""Pods that the cluster does not let a ReplicaSet or StatefulSet create: quotas, admission, limit ranges."""

import re
from collections.abc import Iterator

from berth_operator.plan.observed import REVISION, Object, Observed, annotations, uid
from berth_operator.plan.reasons import Culprit, Finding, Reason, clipped

QUOTA = re.compile(r"exceeded quota: (?P<name>[^,\s]+)")
PREFIX = re.compile(r'^(?:[Cc]reate Pod \S+ in StatefulSet \S+ failed error: )?pods "[^"]*" is forbidden: ')

ADMISSION = (
    "violates PodSecurity",
    "admission webhook",
    "ValidatingAdmissionPolicy",
    "is forbidden: ",
    "denied the request",
    # A LimitRange's words.
    "maximum ",
    "minimum ",
)
"""What admission plugins write, `plugin/pkg/admission` and `pod-security-admission`."""


def creation_failures(observed: Observed) -> Iterator[Finding]:
    """Yield why pods of the present template cannot be created."""
    if (group := observed.group) is not None:
        # A StatefulSet has no condition for it, only an Event each time.
        tries = [one for one in observed.events.get(uid(group), ()) if one.get("reason") == "FailedCreate"]
        for event in tries[-1:]:
            yield _finding(Culprit("StatefulSet", group["metadata"]["name"]), str(event.get("message", "")))
        return
    for owner, kind in _owners(observed):
        for condition in (owner.get("status") or {}).get("conditions") or []:
            if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
                yield _finding(Culprit(kind, owner["metadata"]["name"]), str(condition.get("message", "")))
                return


def _owners(observed: Observed) -> Iterator[tuple[Object, str]]:
    """The ReplicaSet first, where it is known: it is the one that fails. The Deployment repeats its words."""
    revision = annotations(observed.deployment or {}).get(REVISION)
    for replica_set in observed.replica_sets:
        if annotations(replica_set).get(REVISION) == revision:
            yield replica_set, "ReplicaSet"
    if observed.deployment is not None:
        yield observed.deployment, "Deployment"


def _finding(culprit: Culprit, message: str) -> Finding:
    text = clipped(PREFIX.sub("", message))
    if quota := QUOTA.search(message):
        return Finding(
            Reason.QUOTA_EXCEEDED,
            f'{culprit} cannot create pods: ResourceQuota "{quota["name"]}" is used up ({text})',
            "raise the quota, or delete or shrink what else uses it",
            Culprit("ResourceQuota", quota["name"]),
            cause=quota["name"],
        )
    if any(words in message for words in ADMISSION):
        return Finding(
            Reason.ADMISSION_REFUSED,
            f"{culprit} cannot create pods: admission refuses them ({text})",
            "change that policy, or the part of the Workspace that it objects to",
            culprit,
            cause=text,
        )
    return Finding(
        Reason.POD_CREATION_FAILED,
        f"{culprit} cannot create pods ({text})",
        "do what these words ask for, and look at the namespace's quotas, limit ranges and policies",
        culprit,
        cause=text,
    )
