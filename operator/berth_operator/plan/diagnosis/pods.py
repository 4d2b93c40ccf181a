"""One pod: why it does not serve, or what it is doing until it does."""

from collections.abc import Iterator

from berth_operator.api.names import FETCH_CONTAINER, VLLM_CONTAINER
from berth_operator.plan import nodes
from berth_operator.plan.clock import seconds_between, span
from berth_operator.plan.diagnosis.adapters import adapter_finding, adapter_name
from berth_operator.plan.diagnosis.ended_pods import ended_findings
from berth_operator.plan.diagnosis.ending import ending_finding
from berth_operator.plan.diagnosis.images import IMAGE_REASONS, image_finding
from berth_operator.plan.diagnosis.missing import missing_object
from berth_operator.plan.diagnosis.scheduling import scheduling_finding, unseen_finding
from berth_operator.plan.observed import (
    Object,
    Observed,
    declared,
    described,
    has_ended,
    is_pod_ready,
    is_running,
    is_sidecar,
    node_name,
    uid,
)
from berth_operator.plan.reasons import Culprit, Finding, Reason, clipped

START_REASONS = frozenset({"CreateContainerError", "RunContainerError", "StartError", "ContainerCannotRun"})
MOUNT_EVENTS = frozenset({"FailedMount", "FailedAttachVolume", "FailedMapVolume"})
CREATION_EVENTS = frozenset({"FailedCreatePodSandBox", "NetworkNotReady"})


def pod_findings(pod: Object, observed: Observed, now: str) -> Iterator[Finding]:
    """Yield everything that keeps one pod from serving; nothing for a pod that serves."""
    name = pod["metadata"]["name"]
    status = pod.get("status") or {}
    if has_ended(pod):
        yield from ended_findings(pod, observed)
        return
    conditions = {condition.get("type"): condition for condition in status.get("conditions") or []}
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False" and not node_name(pod):
        if scheduled.get("reason") == "Unschedulable":
            yield scheduling_finding(pod, str(scheduled.get("message", "")), observed)
        else:
            yield Finding(
                Reason.UNSCHEDULABLE,
                f'pod "{name}" is not scheduled ({clipped(scheduled.get("reason"))}: '
                f"{clipped(scheduled.get('message'))})",
                "put right what these words name",
                Culprit("Pod", name),
                cause=str(scheduled.get("reason")),
            )
        return
    if not node_name(pod):
        yield from unseen_finding(pod, now)
        return
    if is_pod_ready(pod):
        return
    yield from _node(pod, observed)
    main = status.get("containerStatuses") or []
    trouble = [
        finding
        for container in [*(status.get("initContainerStatuses") or []), *main]
        if (finding := _container(pod, container, observed, now)) is not None
    ]
    if not trouble:
        trouble = list(_volumes(pod, observed))
    yield from trouble
    if not trouble:
        yield _on_its_way(pod, main, observed, now)


def _node(pod: Object, observed: Observed) -> Iterator[Finding]:
    """What is wrong with the node of a pod that is not ready."""
    if observed.nodes is None:
        return
    name, node = node_name(pod), observed.node_of(pod)
    culprit = Culprit("Node", name)
    # A node that is not known may have joined a moment ago, unless something has run on it already.
    lost = node is None and observed.nodes and (pod.get("status") or {}).get("containerStatuses")
    if lost or (node is not None and not nodes.is_ready(node)):
        gone = "does not exist any more" if node is None else "is not ready"
        yield Finding(
            Reason.NODE_LOST,
            f'{culprit}, which runs pod "{pod["metadata"]["name"]}", {gone}',
            f"see `kubectl describe node {name}`; Kubernetes moves the pod after some minutes if another can take it",
            culprit,
            cause=name,
        )
    elif node is not None and (short := nodes.pressures(node)):
        yield Finding(
            Reason.NODE_UNDER_PRESSURE,
            f'{culprit} is short of {" and ".join(short)}, and its pod "{pod["metadata"]["name"]}" does not serve',
            "free it, or move the pod to another node",
            culprit,
            cause=name,
        )


def _container(pod: Object, container: Object, observed: Observed, now: str) -> Finding | None:
    what = described(pod, container)
    culprit = Culprit("Pod", pod["metadata"]["name"])
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    reason, message = str(waiting.get("reason", "")), str(waiting.get("message") or "no further message")
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
    namespace = str(pod["metadata"].get("namespace", "default"))
    if reason in IMAGE_REASONS:
        return image_finding(what, container, observed.events_of(pod))
    if adapter_name(container) and (finding := adapter_finding(pod, container)) is not None:
        return finding
    if reason == "CreateContainerConfigError":
        return missing_object(message, what, namespace) or Finding(
            Reason.CONTAINER_CONFIG_ERROR,
            f"{what} cannot be set up: {clipped(message)}",
            "put right what these words name; the kubelet tries again by itself",
            culprit,
            cause=clipped(message, 120),
        )
    if reason in START_REASONS or ended.get("reason") in START_REASONS:
        words = message if reason in START_REASONS else ended.get("message", "")
        whose = "vLLM" if container.get("name") == VLLM_CONTAINER else "Berth server"
        return Finding(
            Reason.CONTAINER_START_FAILED,
            f"{what} cannot be started: {clipped(words)}",
            f"check that the image is a {whose} image for this node's processor",
            culprit,
            cause=clipped(words, 120),
        )
    if container.get("ready"):
        return None
    doing = _doing(pod, container, observed, now) if is_running(container) else ""
    return ending_finding(pod, container, observed, doing)


def _volumes(pod: Object, observed: Observed) -> Iterator[Finding]:
    """What keeps a pod's containers from being created at all, which only its Events tell."""
    containers = (pod.get("status") or {}).get("containerStatuses") or []
    if any("waiting" not in (container.get("state") or {}) for container in containers):
        return
    name, namespace = pod["metadata"]["name"], str(pod["metadata"].get("namespace", "default"))
    what, culprit = f'pod "{name}"', Culprit("Pod", name)
    for event in reversed(observed.events_of(pod)):
        reason, text = event.get("reason"), str(event.get("message", ""))
        if reason in MOUNT_EVENTS:
            yield missing_object(text, what, namespace) or Finding(
                Reason.VOLUME_UNAVAILABLE,
                f"{what} cannot get a volume: {clipped(text)}",
                "put right what these words name; the kubelet tries again by itself",
                culprit,
                cause=str(reason),
            )
            return
        if reason in CREATION_EVENTS:
            yield Finding(
                Reason.CONTAINER_CONFIG_ERROR,
                f'{what} cannot be set up on node "{node_name(pod)}": {clipped(text)}',
                "look at the node's container runtime and network; the kubelet tries again by itself",
                culprit,
                cause=str(reason),
            )
            return
        if reason in ("Pulling", "Pulled", "Created", "Started"):
            return


def _on_its_way(pod: Object, containers: list[Object], observed: Observed, now: str) -> Finding:
    name = pod["metadata"]["name"]
    culprit = Culprit("Pod", name)
    inits = (pod.get("status") or {}).get("initContainerStatuses") or []
    early = next((one for one in inits if _is_awaited(pod, one)), None)
    if early is not None:
        doing = _doing(pod, early, observed, now)
        return Finding(Reason.STARTING, f'pod "{name}" is starting: {doing}', "", culprit)
    if containers and all(container.get("started") for container in containers):
        return Finding(
            Reason.NOT_READY,
            f'pod "{name}" runs but does not answer its readiness probe',
            f"see `kubectl logs -n {pod['metadata'].get('namespace', 'default')} {name}`; if it is busy, raise "
            "resource.count",
            culprit,
        )
    if not any(is_running(container) for container in containers):
        return Finding(
            Reason.STARTING,
            f'pod "{name}" on node "{node_name(pod)}": {_before_running(pod, observed)}',
            "",
            culprit,
        )
    container = next(one for one in containers if is_running(one) or not one.get("started"))
    return Finding(
        Reason.STARTING, f'pod "{name}" is starting: {_doing(pod, container, observed, now)}', "", culprit
    )


def _is_awaited(pod: Object, container: Object) -> bool:
    """Whether one of the containers that go before the pod's others runs, and these still wait for it."""
    serves_beside = is_sidecar(declared(pod, container)) and container.get("started")
    return is_running(container) and not serves_beside


def _before_running(pod: Object, observed: Observed) -> str:
    events = [str(event.get("reason")) for event in observed.events_of(pod)]
    if "Pulling" in events and "Pulled" not in events:
        return "its image is being pulled"
    waiting = [
        str(((container.get("state") or {}).get("waiting") or {}).get("reason", ""))
        for container in (pod.get("status") or {}).get("containerStatuses") or []
    ]
    doing = next((reason for reason in waiting if reason), "")
    return f"its container is being created ({doing})" if doing else "its container is being created"


def _doing(pod: Object, container: Object, observed: Observed, now: str) -> str:
    """What a container that runs and is not ready does: in its own words if it has any, and by its startup probe."""
    report = observed.reports.get(uid(pod))
    words = report.words if report else _purpose(pod, container)
    ran = seconds_between(((container.get("state") or {}).get("running") or {}).get("startedAt"), now)
    probe = declared(pod, container).get("startupProbe")
    if ran is None:
        return words
    if not probe:
        return f"{words} ({span(ran)} so far)"
    limit = probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3)
    return f"{words} ({span(ran)} of the {span(limit)} that it may take)"


def _purpose(pod: Object, container: Object) -> str:
    """What a container that tells nothing is there for."""
    if container.get("name") == FETCH_CONTAINER:
        return "its weights are being fetched"
    if adapter := adapter_name(container):
        return f'adapter "{adapter}" is being copied out of its image'
    if container.get("name") == VLLM_CONTAINER:
        return "vLLM is loading the model"
    if container in ((pod.get("status") or {}).get("initContainerStatuses") or []):
        return f'its init container "{container.get("name")}" runs'
    return "its model is loading"
