"""Deployment and its ReplicaSets -> which ReplicaSets to make, scale and drop: rolling update, recreate, rollback."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from berth_local.agent.plan.objects import Object, controller_reference, uid_of
from berth_local.agent.plan.replicas import wanted_replicas

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
_NOT_COPIED = {"kubectl.kubernetes.io/last-applied-configuration", REVISION}
# The alphabet of Kubernetes' generated names: no vowels, so that no words come out.
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"

DEFAULT_HISTORY = 10
"""Old ReplicaSets kept for `kubectl rollout undo` when `revisionHistoryLimit` is not given: Kubernetes' default."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """What to do for one Deployment; every part may be empty."""

    create: Object | None = None
    """The ReplicaSet of the current template, when there is none yet."""
    scale: Mapping[str, int] = field(default_factory=dict)
    """ReplicaSet name -> replicas, only where it differs."""
    revise: Mapping[str, int] = field(default_factory=dict)
    """ReplicaSet name -> revision, when an old one became current again."""
    delete: tuple[str, ...] = ()
    """Old ReplicaSets past the history limit."""
    revision: int = 0
    """The Deployment's revision, for its annotation."""


def plan_rollout(deployment: Object, replica_sets: Sequence[Object], pods: Sequence[Object]) -> Rollout:
    """Decide the next step of a Deployment's rollout. Taken again and again, the steps end at its spec.

    `replica_sets` are those it controls, `pods` those that these control.
    """
    current = current_replica_set(deployment, replica_sets)
    old = [one for one in replica_sets if one is not current]
    newest_old = max((revision_of(one) for one in old), default=0)
    if deployment["spec"].get("paused"):
        return _paused(deployment, current, old)
    if current is None:
        if _recreates(deployment) and (_to_zero(old) or _running(old, pods)):
            return Rollout(scale=_to_zero(old), revision=newest_old)
        replicas = (
            wanted_replicas(deployment) if _recreates(deployment) else _new_replicas(deployment, None, old)
        )
        revision = newest_old + 1
        return Rollout(create=_replica_set(deployment, replicas, revision), revision=revision)
    revision = revision_of(current)
    revise = {}
    if revision <= newest_old:
        revision = newest_old + 1
        revise = {str(current["metadata"]["name"]): revision}
    if _recreates(deployment):
        scale = _to_zero(old)
        if not scale and not _running(old, pods):
            scale = _scaled(current, wanted_replicas(deployment))
    else:
        # One step at a time, as the counts that the second rests on are those after the first.
        scale = _scaled(current, _new_replicas(deployment, current, old)) or _shrink(deployment, current, old)
    return Rollout(scale=scale, revise=revise, delete=_past_history(deployment, old), revision=revision)


def current_replica_set(deployment: Object, replica_sets: Sequence[Object]) -> Object | None:
    """Return the ReplicaSet made of the Deployment's present template, the newest if several are."""
    template = _plain(deployment["spec"]["template"])
    same = [one for one in replica_sets if _plain(one["spec"]["template"]) == template]
    return max(same, key=revision_of, default=None)


def revision_of(obj: Mapping[str, Any]) -> int:
    """Return the revision that a Deployment's or ReplicaSet's annotation states; 0 when it states none."""
    text = str((obj["metadata"].get("annotations") or {}).get(REVISION, "0"))
    return int(text) if text.isdecimal() else 0


def template_hash(template: Mapping[str, Any], salt: str) -> str:
    """Return the label value that tells the pods of one template from those of another."""
    written = json.dumps([template, salt], sort_keys=True, separators=(",", ":")).encode()
    number = int.from_bytes(hashlib.sha256(written).digest()[:8])
    letters = []
    for _ in range(10):
        number, place = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[place])
    return "".join(letters)


def surge_and_unavailable(deployment: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many pods a rolling update may have above, and miss below, the wanted number.

    Percentages round up for the surge and down for the unavailable; both zero would never move, so that
    then one may be missing. 25 % each when not given: Kubernetes' default.
    """
    rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    wanted = wanted_replicas(deployment)

    def resolved(name: str, rounding: Any) -> int:
        value = rolling.get(name, "25%")
        if isinstance(value, str) and value.endswith("%"):
            return int(rounding(wanted * float(value[:-1]) / 100))
        return int(value)

    surge, unavailable = resolved("maxSurge", math.ceil), resolved("maxUnavailable", math.floor)
    return surge, min(unavailable or (0 if surge else 1), wanted)


def _plain(template: Mapping[str, Any]) -> Object:
    meta = template.get("metadata") or {}
    labels = {key: value for key, value in (meta.get("labels") or {}).items() if key != HASH_LABEL}
    kept = {key: value for key, value in meta.items() if value not in (None, {}, [])}
    return {**template, "metadata": {**kept, "labels": labels}}


def _replica_set(deployment: Object, replicas: int, revision: int) -> Object:
    meta, spec = deployment["metadata"], deployment["spec"]
    template = _plain(spec["template"])
    # The uid makes the name of a Deployment that was deleted and made again differ from its forerunner's,
    # whose ReplicaSet may still be going.
    name_hash = template_hash(template, uid_of(deployment))
    labels = {**template["metadata"]["labels"], HASH_LABEL: name_hash}
    annotations = {
        key: value for key, value in (meta.get("annotations") or {}).items() if key not in _NOT_COPIED
    }
    selector = spec.get("selector") or {}
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{meta['name']}-{name_hash}",
            "namespace": meta["namespace"],
            "labels": labels,
            "annotations": {**annotations, REVISION: str(revision)},
            "ownerReferences": [controller_reference(deployment)],
        },
        "spec": {
            "replicas": replicas,
            "minReadySeconds": spec.get("minReadySeconds") or 0,
            "selector": {
                **selector,
                "matchLabels": {**(selector.get("matchLabels") or {}), HASH_LABEL: name_hash},
            },
            "template": {**template, "metadata": {**template["metadata"], "labels": labels}},
        },
    }


def _recreates(deployment: Mapping[str, Any]) -> bool:
    return (deployment["spec"].get("strategy") or {}).get("type") == "Recreate"


def _running(old: Sequence[Object], pods: Sequence[Object]) -> bool:
    """Whether pods of old ReplicaSets are still there, even if on their way out: Recreate waits for the last."""
    uids = {uid_of(one) for one in old}
    return any(
        owner.get("uid") in uids for pod in pods for owner in pod["metadata"].get("ownerReferences") or ()
    )


def _scaled(replica_set: Object, replicas: int) -> dict[str, int]:
    return (
        {} if wanted_replicas(replica_set) == replicas else {str(replica_set["metadata"]["name"]): replicas}
    )


def _to_zero(replica_sets: Sequence[Object]) -> dict[str, int]:
    return {name: count for one in replica_sets for name, count in _scaled(one, 0).items()}


def _available(replica_set: Object) -> int:
    return int((replica_set.get("status") or {}).get("availableReplicas") or 0)


def _new_replicas(deployment: Object, current: Object | None, old: Sequence[Object]) -> int:
    """How many replicas the current ReplicaSet may have now, within the surge."""
    wanted, has = wanted_replicas(deployment), wanted_replicas(current) if current is not None else 0
    if has >= wanted:
        return wanted
    surge, _ = surge_and_unavailable(deployment)
    room = wanted + surge - has - sum(wanted_replicas(one) for one in old)
    return has + max(0, min(room, wanted - has))


def _shrink(deployment: Object, current: Object, old: Sequence[Object]) -> dict[str, int]:
    """Which old ReplicaSets may shrink now: first by pods that serve nobody, then as far as enough stay available."""
    _, unavailable = surge_and_unavailable(deployment)
    least = wanted_replicas(deployment) - unavailable
    everyone = wanted_replicas(current) + sum(wanted_replicas(one) for one in old)
    budget = everyone - least - max(wanted_replicas(current) - _available(current), 0)
    scale: dict[str, int] = {}
    oldest_first = sorted(old, key=revision_of)
    left = {one["metadata"]["name"]: wanted_replicas(one) for one in oldest_first}
    for one in oldest_first:
        name = one["metadata"]["name"]
        drop = min(max(left[name] - _available(one), 0), max(budget, 0))
        left[name] -= drop
        budget -= drop
    spare = (
        _available(current) + sum(min(_available(one), left[one["metadata"]["name"]]) for one in old) - least
    )
    for one in oldest_first:
        name = one["metadata"]["name"]
        drop = min(left[name], max(spare, 0), max(budget, 0))
        left[name] -= drop
        spare -= drop
        budget -= drop
        scale.update(_scaled(one, left[name]))
    return scale


def _paused(deployment: Object, current: Object | None, old: Sequence[Object]) -> Rollout:
    """A paused Deployment rolls nothing out, but still scales what it has."""
    latest = current if current is not None else max(old, key=revision_of, default=None)
    if latest is None:
        return Rollout()
    others = sum(wanted_replicas(one) for one in [*old, *([current] if current else [])] if one is not latest)
    replicas = max(wanted_replicas(deployment) - others, 0)
    return Rollout(scale=_scaled(latest, replicas), revision=revision_of(latest))


def _past_history(deployment: Object, old: Sequence[Object]) -> tuple[str, ...]:
    limit = deployment["spec"].get("revisionHistoryLimit")
    idle = [
        one
        for one in sorted(old, key=revision_of)
        if wanted_replicas(one) == 0 and not (one.get("status") or {}).get("replicas")
    ]
    surplus = len(idle) - (DEFAULT_HISTORY if limit is None else int(limit))
    return tuple(str(one["metadata"]["name"]) for one in idle[: max(surplus, 0)])
