"""Pods that the cluster does not let a ReplicaSet or StatefulSet create: quotas, admission, limit ranges."""

import re
from collections.abc import Iterator

from berth_operator.plan.observed import REVISION, Object, Observed, annotations, uid
from berth_operator.plan.reasons import Culprit, Finding, Reason, clipped

QUOTA = re.compile(r"exceeded quota: (?P<name>[^,\s]+)")
UNLIMITED = re.compile(r"failed quota: (?P<name>[^:\s]+): must specify (?P<what>.+)")
ACCOUNT = re.compile(r'serviceaccount "(?P<name>[^"]+)" not found')
WEBHOOK = re.compile(r'failed calling webhook "(?P<name>[^"]+)"')
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
            # Its pods' names stay the same, and old ones end before new ones are made.
            culprit = Culprit("StatefulSet", group["metadata"]["name"])
            yield _finding(culprit, str(event.get("message", "")), is_rollout=False)
        return
    for owner, kind in _owners(observed):
        for condition in (owner.get("status") or {}).get("conditions") or []:
            if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
                culprit = Culprit(kind, owner["metadata"]["name"])
                words = _of_any_pod(culprit, str(condition.get("message", "")))
                yield _finding(culprit, words, is_rollout=bool(observed.old_pods))
                return


def _owners(observed: Observed) -> Iterator[tuple[Object, str]]:
    """The ReplicaSet first, where it is known: it is the one that fails. The Deployment repeats its words."""
    revision = annotations(observed.deployment or {}).get(REVISION)
    for replica_set in observed.replica_sets:
        if annotations(replica_set).get(REVISION) == revision:
            yield replica_set, "ReplicaSet"
    if observed.deployment is not None:
        yield observed.deployment, "Deployment"


def _of_any_pod(owner: Culprit, message: str) -> str:
    """Return the words without the end of the pod's name, which is another at each attempt and would be news."""
    stem = re.escape(owner.name) + ("" if owner.kind == "ReplicaSet" else "-[a-z0-9]+")
    return re.sub(rf"\b({stem})-[a-z0-9]{{5}}\b", r"\1", message)


def _finding(culprit: Culprit, message: str, *, is_rollout: bool) -> Finding:
    text = clipped(PREFIX.sub("", message))
    head = f"{culprit} cannot create pods"
    if quota := QUOTA.search(message):
        return Finding(
            Reason.QUOTA_EXCEEDED,
            f'{head}: ResourceQuota "{quota["name"]}" is used up ({text})',
            "raise the quota, or delete or shrink what else uses it"
            + ", or annotate the Workspace with berth.dev/rollout: recreate, which ends the old pod first"
            * is_rollout,
            Culprit("ResourceQuota", quota["name"]),
            cause=quota["name"],
        )
    if quota := UNLIMITED.search(message):
        return Finding(
            Reason.ADMISSION_REFUSED,
            f'{head}: ResourceQuota "{quota["name"]}" counts what they do not name ({text})',
            "give the namespace a LimitRange with a default for it, or take it out of the quota",
            Culprit("ResourceQuota", quota["name"]),
            cause=quota["name"],
        )
    if account := ACCOUNT.search(message):
        return Finding(
            Reason.POD_CREATION_FAILED,
            f'{head}: ServiceAccount "{account["name"]}" does not exist in the namespace',
            "create it, or correct serviceAccountName in inference.template",
            Culprit("ServiceAccount", account["name"]),
            cause=account["name"],
        )
    if webhook := WEBHOOK.search(message):
        return Finding(
            Reason.POD_CREATION_FAILED,
            f'{head}: the admission webhook "{webhook["name"]}" does not answer ({text})',
            "see to the pods behind that webhook: until it answers, nobody creates pods that it is asked about",
            Culprit("Webhook", webhook["name"]),
            cause=webhook["name"],
        )
    if any(words in message for words in ADMISSION):
        return Finding(
            Reason.ADMISSION_REFUSED,
            f"{head}: admission refuses them ({text})",
            "change that policy, or the part of the Workspace that it objects to",
            culprit,
            cause=text,
        )
    return Finding(
        Reason.POD_CREATION_FAILED,
        f"{head} ({text})",
        "do what these words ask for, and look at the namespace's quotas, limit ranges and policies",
        culprit,
        cause=text,
    )
