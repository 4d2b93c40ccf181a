"""Why a Workspace is not serving: from the live Deployment and pods to one finding, root cause first.

The reasons that are matched here are the kubelet's and the scheduler's own words
(`kubernetes/pkg/kubelet/images/types.go`, `kubelet/container/sync_result.go`, `core/v1` PodReasonUnschedulable).
"""

from collections.abc import Iterator
from typing import Any

from berth_operator.plan.observed import Observed
from berth_operator.plan.placement import GPU_RESOURCE
from berth_operator.plan.reasons import Finding, Reason

IMAGE_REASONS = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
    }
)
START_REASONS = frozenset({"CreateContainerError", "RunContainerError", "StartError", "ContainerCannotRun"})

OOM_EXIT_CODE = 137
"""128 + SIGKILL: what a container that the kernel's memory killer ended exits with."""

# Earlier reasons are nearer the root: a pod that cannot be scheduled explains everything after it.
SEVERITY = (
    Reason.POD_CREATION_FAILED,
    Reason.UNSCHEDULABLE,
    Reason.CONTAINER_CONFIG_ERROR,
    Reason.IMAGE_PULL_FAILED,
    Reason.CONTAINER_START_FAILED,
    Reason.OUT_OF_MEMORY,
    Reason.CRASH_LOOP,
    Reason.POD_EVICTED,
    Reason.NOT_READY,
    Reason.STARTING,
    Reason.ROLLING_OUT,
    Reason.DEPLOYING,
    Reason.STOPPED,
)


def diagnose(observed: Observed) -> Finding | None:
    """Return the first cause why the current template does not serve on every replica, or None when it does."""
    deployment = observed.deployment
    if deployment is None:
        return Finding(Reason.DEPLOYING, "the Deployment is being created")
    progress = _rollout(deployment)
    if progress is None:
        return None
    findings = [
        *_creation_failures(deployment),
        *(found for pod in observed.current_pods for found in _pod(pod)),
    ]
    findings.append(progress)
    return min(findings, key=lambda finding: SEVERITY.index(finding.reason))


def unplaced(observed: Observed, wanted: int) -> Finding | None:
    """Return why not every wanted pod has a node, or None when each has one."""
    placed = [pod for pod in observed.current_pods if (pod.get("spec") or {}).get("nodeName")]
    if observed.deployment is not None and len(placed) >= wanted:
        return None
    cause = diagnose(observed)
    if cause is not None and cause.reason in (Reason.UNSCHEDULABLE, Reason.POD_CREATION_FAILED):
        return cause
    return Finding(Reason.DEPLOYING, f"{len(placed)} of {wanted} pods have a node")


def _rollout(deployment: dict[str, Any]) -> Finding | None:
    """Judge the Deployment's own numbers; None only if every replica of the current template is available."""
    name = deployment["metadata"]["name"]
    status = deployment.get("status") or {}
    wanted = (deployment.get("spec") or {}).get("replicas", 1)
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 1):
        return Finding(Reason.DEPLOYING, f'Deployment "{name}" has a change that is not being acted on yet')
    updated, total = status.get("updatedReplicas", 0), status.get("replicas", 0)
    # Available implies ready for minReadySeconds; both count old pods too, hence the comparison with `total`.
    available = min(status.get("availableReplicas", 0), status.get("readyReplicas", 0))
    if wanted == 0:
        return Finding(Reason.STOPPED, "resource.count is 0: nothing serves until it is 1 or more")
    if updated >= wanted and total == updated and available >= wanted:
        return None
    if total > updated:
        return Finding(
            Reason.ROLLING_OUT,
            f'Deployment "{name}" is replacing pods: {updated} of {wanted} are of the current template, '
            f"{total - updated} old ones still run",
        )
    return Finding(Reason.DEPLOYING, f'Deployment "{name}" has {available} of {wanted} pods available')


def _creation_failures(deployment: dict[str, Any]) -> Iterator[Finding]:
    for condition in (deployment.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            yield Finding(
                Reason.POD_CREATION_FAILED,
                f'Deployment "{deployment["metadata"]["name"]}" cannot create its pods: '
                f"{condition.get('message', '')}; "
                "look at the namespace's quotas, limit ranges and admission policies",
            )


def _pod(pod: dict[str, Any]) -> Iterator[Finding]:
    name = pod["metadata"]["name"]
    status = pod.get("status") or {}
    if status.get("reason") == "Evicted":
        yield Finding(
            Reason.POD_EVICTED,
            f'pod "{name}" was evicted from {_node(pod)}: {status.get("message", "")}; '
            "free that resource on the node, or let the pod run on a larger one",
        )
        return
    conditions = {condition["type"]: condition for condition in status.get("conditions") or []}
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
        yield _unschedulable(name, str(scheduled.get("message", "")))
        return
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    for container in containers:
        yield from _container(pod, container)
    if containers and conditions.get("Ready", {}).get("status") != "True":
        yield _on_its_way(name, status.get("containerStatuses") or [])


def _unschedulable(name: str, message: str) -> Finding:
    if f"Insufficient {GPU_RESOURCE}" in message:
        remedy = (
            "add a node with a free GPU, lower resource.count, or annotate the Workspace with "
            "berth.dev/accelerator: cpu to run the preset without one"
        )
    elif "node affinity" in message or "node selector" in message:
        remedy = "no node matches resource.instanceType and resource.labelSelector: label or add one, or change them"
    elif "Insufficient" in message:
        remedy = "add a larger node, or free what runs on these"
    elif "taint" in message:
        remedy = "remove the taint, or use other nodes"
    else:
        remedy = "the scheduler's message says what is missing"
    return Finding(Reason.UNSCHEDULABLE, f'pod "{name}" cannot be scheduled: {message} Remedy: {remedy}')


def _container(pod: dict[str, Any], status: dict[str, Any]) -> Iterator[Finding]:
    what = f'container "{status.get("name")}" of pod "{pod["metadata"]["name"]}"'
    state = status.get("state") or {}
    waiting = state.get("waiting") or {}
    reason, message = waiting.get("reason", ""), waiting.get("message") or "no further message"
    ended = state.get("terminated") or (status.get("lastState") or {}).get("terminated") or {}
    if reason in IMAGE_REASONS:
        yield Finding(
            Reason.IMAGE_PULL_FAILED,
            f'{what} cannot get its image "{status.get("image")}" ({reason}): {message}; check the name, that the '
            "registry can be reached, and that an image pull secret gives access",
        )
    elif reason == "CreateContainerConfigError":
        yield Finding(
            Reason.CONTAINER_CONFIG_ERROR,
            f"{what} cannot be set up: {message}; create the Secret or ConfigMap, or the key in it, that is missing",
        )
    elif reason in START_REASONS or ended.get("reason") in START_REASONS:
        yield Finding(
            Reason.CONTAINER_START_FAILED,
            f"{what} cannot be started: {message if reason in START_REASONS else ended.get('message', '')}; "
            "check that the image is a Berth server image for this node's processor",
        )
    elif not status.get("ready") and ended.get("reason") == "OOMKilled":
        yield Finding(
            Reason.OUT_OF_MEMORY,
            f"{what} was OOMKilled (exit {ended.get('exitCode', OOM_EXIT_CODE)}) on {_node(pod)}, "
            f"{status.get('restartCount', 0)} restarts; use nodes with more memory or a smaller preset",
        )
    elif reason == "CrashLoopBackOff" or (not status.get("ready") and ended.get("exitCode", 0) != 0):
        yield Finding(
            Reason.CRASH_LOOP,
            f"{what} keeps ending: exit {ended.get('exitCode', 'unknown')}, {status.get('restartCount', 0)} restarts"
            f"{_quoted(ended.get('message'))}; "
            f"see `kubectl logs -n {pod['metadata'].get('namespace')} {pod['metadata']['name']} --previous`",
        )


def _on_its_way(name: str, containers: list[dict[str, Any]]) -> Finding:
    if containers and all(container.get("started") for container in containers):
        return Finding(Reason.NOT_READY, f'pod "{name}" runs but does not answer its readiness probe')
    waiting = [(container.get("state") or {}).get("waiting") or {} for container in containers]
    doing = next((state.get("reason", "") for state in waiting if state.get("reason")), "")
    return Finding(
        Reason.STARTING, f'pod "{name}" is starting' + (f" ({doing})" if doing else ": its model is loading")
    )


def _node(pod: dict[str, Any]) -> str:
    return f"node {(pod.get('spec') or {}).get('nodeName') or 'unknown'}"


def _quoted(message: str | None) -> str:
    return f', "{message.strip()[-300:]}"' if message and message.strip() else ""
