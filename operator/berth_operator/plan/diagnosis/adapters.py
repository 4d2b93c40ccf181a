"""Adapters that cannot be copied out of their images, which the init container that tries tells."""

from berth_operator.api.names import ADAPTER_PREFIX
from berth_operator.plan.diagnosis.ending import gist
from berth_operator.plan.observed import Object
from berth_operator.plan.reasons import Culprit, Finding, Reason, clipped

NO_COPY = 'exec: "cp"'
"""What container runtimes say of an image that has no `cp`."""


def adapter_name(container: Object) -> str:
    """Return the name of the adapter that an init container copies; "" for another container."""
    name = str(container.get("name", ""))
    return name.removeprefix(ADAPTER_PREFIX) if name.startswith(ADAPTER_PREFIX) else ""


def adapter_finding(pod: Object, container: Object) -> Finding | None:
    """Return why an adapter could not be copied the last time, or None if that has not failed."""
    state = container.get("state") or {}
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
    waiting = state.get("waiting") or {}
    refused = waiting.get("reason") in ("CreateContainerError", "RunContainerError", "StartError")
    if container.get("ready") or not (refused or ended.get("exitCode")):
        return None
    said = str(ended.get("message") or waiting.get("message") or "")
    words = clipped(said) if NO_COPY in said else gist(said)
    name, code = adapter_name(container), ended.get("exitCode")
    return Finding(
        Reason.INVALID_ADAPTER,
        f'pod "{pod["metadata"]["name"]}" cannot copy adapter "{name}" out of its image "{container.get("image")}"'
        + (f" (exit {code})" if code else "")
        + (f": {words}" if words else ""),
        "the image has no `cp`: build it on one that has, such as busybox"
        if NO_COPY in said
        else "the image must hold the adapter's files under /data, readable for every user (COPY --chmod=0644)",
        Culprit("Pod", pod["metadata"]["name"]),
        cause=name,
    )
