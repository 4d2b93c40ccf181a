"""What `kubectl get pods` says of a pod: how many containers are ready, its status in one word, its restarts."""

from berth_local.apiserver.kinds.durations import age
from berth_local.apiserver.objects import Object, dig


def pod_ready(body: Object) -> str:
    """Return ready and all containers: `1/1`."""
    ready = sum(bool(one.get("ready")) for one in dig(body, "status", "containerStatuses") or ())
    return f"{ready}/{len(dig(body, 'spec', 'containers') or ())}"


def pod_status(body: Object) -> str:
    """Return why the pod is not running, or its phase."""
    status = body.get("status") or {}
    text = str(status.get("reason") or status.get("phase") or "Unknown")
    initialising = _initialising(body)
    if initialising:
        text = initialising
    else:
        running = False
        for container in reversed(status.get("containerStatuses") or ()):
            text, running = _container_word(container, text, running)
        if text == "Completed" and running:
            ready = any(
                one.get("type") == "Ready" and one.get("status") == "True"
                for one in status.get("conditions") or ()
            )
            text = "Running" if ready else "NotReady"
    if body["metadata"].get("deletionTimestamp"):
        return "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    return text


def _container_word(container: Object, text: str, running: bool) -> tuple[str, bool]:
    state = container.get("state") or {}
    waiting, ended = state.get("waiting") or {}, state.get("terminated")
    if waiting.get("reason"):
        return str(waiting["reason"]), running
    if ended is not None:
        return _ended(ended), running
    return text, running or bool(container.get("ready") and state.get("running") is not None)


def _ended(ended: Object) -> str:
    if ended.get("reason"):
        return str(ended["reason"])
    return f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode', 0)}"


def _initialising(body: Object) -> str:
    statuses = dig(body, "status", "initContainerStatuses") or ()
    total = len(dig(body, "spec", "initContainers") or ())
    for index, container in enumerate(statuses):
        state = container.get("state") or {}
        ended, waiting = state.get("terminated"), state.get("waiting") or {}
        if (ended is not None and ended.get("exitCode") == 0) or container.get("started"):
            continue
        if ended is not None:
            return f"Init:{_ended(ended)}"
        if waiting.get("reason") and waiting["reason"] != "PodInitializing":
            return f"Init:{waiting['reason']}"
        return f"Init:{index}/{total}"
    return ""


def pod_restarts(body: Object) -> str:
    """Return the restarts of all containers and when the last was: `2 (30s ago)`."""
    statuses = dig(body, "status", "containerStatuses") or ()
    count = sum(int(one.get("restartCount") or 0) for one in statuses)
    ends = [dig(one, "lastState", "terminated", "finishedAt") for one in statuses]
    last = max((end for end in ends if end), default=None)
    return f"{count} ({age(last)} ago)" if count and last else str(count)
