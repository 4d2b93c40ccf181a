"""A pod and the facts about its containers -> the pod's status, as a kubelet writes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from berth_local.agent.plan.objects import Object, time_text, with_condition
from berth_local.agent.plan.resources import qos_class


@dataclass(frozen=True, slots=True)
class Waiting:
    """The container has no process; the reason says what it waits for."""

    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Running:
    """The container's process runs since then."""

    started_at: datetime


@dataclass(frozen=True, slots=True)
class Terminated:
    """The container's process ended."""

    exit_code: int
    reason: str
    started_at: datetime
    finished_at: datetime
    message: str = ""
    container_id: str = ""


State: TypeAlias = Waiting | Running | Terminated


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one container."""

    name: str
    image: str
    state: State = field(default_factory=lambda: Waiting("ContainerCreating"))
    last: Terminated | None = None
    restarts: int = 0
    started: bool = False
    ready: bool = False
    container_id: str = ""
    sidecar: bool = False
    """An init container with `restartPolicy: Always`: it counts as done once started, and keeps running."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pod runs."""

    host_ip: str
    pod_ip: str | None
    started_at: datetime


def pod_status(
    pod: Object, place: Place, init: Sequence[Facts], containers: Sequence[Facts], now: datetime
) -> Object:
    """Return the status of a pod on the node; transition times carry over from the pod's present status."""
    before = pod.get("status") or {}
    phase = _phase(pod["spec"], init, containers)
    unready = [one.name for one in containers if not one.ready]
    uninitialized = [one.name for one in init if not _initialized(one)]
    conditions = list(before.get("conditions") or ())
    for new in (
        {"type": "PodReadyToStartContainers", "status": "True" if place.pod_ip else "False"},
        _gate("Initialized", "ContainersNotInitialized", "incomplete", uninitialized, done=False),
        _gate("Ready", "ContainersNotReady", "unready", unready, done=phase == "Succeeded"),
        _gate("ContainersReady", "ContainersNotReady", "unready", unready, done=phase == "Succeeded"),
        {"type": "PodScheduled", "status": "True"},
    ):
        conditions = with_condition(conditions, new, now)
    status: Object = {
        "phase": phase,
        "conditions": conditions,
        "hostIP": place.host_ip,
        "hostIPs": [{"ip": place.host_ip}],
        "startTime": before.get("startTime") or time_text(place.started_at),
        "containerStatuses": [container_status(one) for one in containers],
        "qosClass": qos_class(pod["spec"]),
    }
    if place.pod_ip:
        status["podIP"] = place.pod_ip
        status["podIPs"] = [{"ip": place.pod_ip}]
    if init:
        status["initContainerStatuses"] = [container_status(one) for one in init]
    return status


def unscheduled_status(pod: Object, message: str, now: datetime) -> Object:
    """Return the status of a pod that no node can take."""
    new = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    conditions = list((pod.get("status") or {}).get("conditions") or ())
    return {
        "phase": "Pending",
        "conditions": with_condition(conditions, new, now),
        "qosClass": qos_class(pod["spec"]),
    }


def container_status(facts: Facts) -> Object:
    """Return the entry of `containerStatuses` for one container."""
    return {
        "name": facts.name,
        "image": facts.image,
        "imageID": "",
        "containerID": facts.container_id,
        "ready": facts.ready,
        "started": facts.started,
        "restartCount": facts.restarts,
        "state": _state(facts.state),
        "lastState": _state(facts.last) if facts.last is not None else {},
    }


def restarts(policy: str, exit_code: int) -> bool:
    """Return whether a container that ended so is started again."""
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def grace_seconds(pod: Mapping[str, Any]) -> float:
    """Return how long the pod's containers may take to end: what its deletion says, else its spec, else 30 s."""
    asked = pod["metadata"].get("deletionGracePeriodSeconds")
    if asked is None:
        asked = pod["spec"].get("terminationGracePeriodSeconds")
    return 30.0 if asked is None else float(asked)


def _state(state: State) -> Object:
    match state:
        case Waiting(reason, message):
            return {"waiting": {"reason": reason, **({"message": message} if message else {})}}
        case Running(started_at):
            return {"running": {"startedAt": time_text(started_at)}}
        case Terminated():
            entry: Object = {
                "exitCode": state.exit_code,
                "reason": state.reason,
                "startedAt": time_text(state.started_at),
                "finishedAt": time_text(state.finished_at),
                "containerID": state.container_id,
            }
            return {"terminated": {**entry, **({"message": state.message} if state.message else {})}}


def _initialized(facts: Facts) -> bool:
    if facts.sidecar:
        return facts.started
    return isinstance(facts.state, Terminated) and facts.state.exit_code == 0


def _gate(kind: str, reason: str, word: str, names: list[str], done: bool) -> Object:
    if done:
        return {"type": kind, "status": "False", "reason": "PodCompleted"}
    if names:
        message = f"containers with {word} status: [{' '.join(names)}]"
        return {"type": kind, "status": "False", "reason": reason, "message": message}
    return {"type": kind, "status": "True"}


def _phase(spec: Mapping[str, Any], init: Sequence[Facts], containers: Sequence[Facts]) -> str:
    policy = spec.get("restartPolicy") or "Always"
    for one in init:
        if not _initialized(one):
            ended = isinstance(one.state, Terminated) and not one.sidecar
            return "Failed" if ended and policy == "Never" else "Pending"
    if any(isinstance(one.state, Waiting) and one.last is None for one in containers):
        return "Pending"
    ends = [one.state for one in containers if isinstance(one.state, Terminated)]
    if len(ends) < len(containers) or policy == "Always":
        return "Running"
    if all(end.exit_code == 0 for end in ends):
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"
