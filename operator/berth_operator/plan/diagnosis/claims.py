"""A pod that no node takes because of a volume: a claim that is missing, not bound, or bound elsewhere."""

import re

from berth_operator.plan.reasons import Culprit, Finding, Reason, clipped

ABOUT_VOLUMES = re.compile(
    r"persistentvolumeclaim|persistent volume|volume node affinity|storageclass|pvc\(s\)",
    re.IGNORECASE,
)
"""The scheduler's words, `pkg/scheduler/framework/plugins/volumebinding` and its neighbours."""

CLAIM = re.compile(r'persistentvolumeclaim "(?P<name>[^"]+)"', re.IGNORECASE)


def claim_finding(head: str, pod: str, words: str) -> Finding | None:
    """Return what is wrong with a pod's claim; None where the scheduler's words are of something else."""
    if not ABOUT_VOLUMES.search(words):
        return None
    claim = CLAIM.search(words)
    culprit = Culprit("PersistentVolumeClaim", claim["name"]) if claim else Culprit("Pod", pod)
    return Finding(
        Reason.VOLUME_UNAVAILABLE,
        f"{head}: its volume cannot be had ({clipped(words)})",
        "see `kubectl describe pvc`; make the claim or its storage class, or change the annotation berth.dev/weights",
        culprit,
        cause=claim["name"] if claim else clipped(re.sub(r"\d+", "", words), 120),
    )
