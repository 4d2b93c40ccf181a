"""Why a Workspace does not become ready: everything that is known about it, on one page."""

from typing import TYPE_CHECKING

from berth_local.agent.client import EVENTS, PODS, ApiClient
from berth_local.agent.logs import PodLogs, tail
from berth_local.agent.plan.objects import Object, key_of
from berth_operator.api.names import API_VERSION, LABEL_WORKSPACE, PLURAL
from berth_operator.kube import KubeError, Resource

if TYPE_CHECKING:
    from berth_local.control_plane import ControlPlane

LOG_LINES, EVENT_COUNT = 15, 10
"""Enough to hold a traceback's last words and the events of a few restarts."""


async def failure_report(client: ApiClient, plane: "ControlPlane", name: str) -> str:
    """Return a Workspace's conditions, its pods, their latest events and the ends of the logs, as text."""
    try:
        workspace = await client.get(Resource(API_VERSION, PLURAL).path("default", name))
        pods = [pod for pod in (await client.list(PODS))[0] if _of(pod, name)]
        events = [event for event in (await client.list(EVENTS))[0] if _concerns(event, name, pods)]
    except KubeError as error:
        return f"the control plane does not answer: {error}"
    lines = ["Conditions:"]
    for one in (workspace.get("status") or {}).get("conditions") or ():
        lines.append(f"  {one['type']}={one['status']} {one.get('reason', '')}: {one.get('message', '')}")
    for pod in pods:
        lines += _pod(pod, plane.logs)
    lines.append("Events:")
    for event in sorted(events, key=lambda event: event.get("lastTimestamp") or "")[-EVENT_COUNT:]:
        about = event["involvedObject"]
        lines.append(
            f"  {about['kind']}/{about['name']} {event['reason']} x{event.get('count', 1)}: {event['message']}"
        )
    if plane.operator_log.exists():
        end = plane.operator_log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        lines += [f"Operator log ({plane.operator_log}):", *(f"  {line}" for line in end)]
    return "\n".join(lines)


def _of(pod: Object, workspace: str) -> bool:
    return (pod["metadata"].get("labels") or {}).get(LABEL_WORKSPACE) == workspace


def _concerns(event: Object, workspace: str, pods: list[Object]) -> bool:
    name = event["involvedObject"].get("name", "")
    return (
        name == workspace
        or name.startswith(f"{workspace}-")
        or name in {pod["metadata"]["name"] for pod in pods}
    )


def _pod(pod: Object, logs: PodLogs) -> list[str]:
    status = pod.get("status") or {}
    lines = [f"Pod {pod['metadata']['name']}: {status.get('phase', 'unknown')}"]
    for one in status.get("containerStatuses") or ():
        state = ", ".join(f"{kind} {facts}" for kind, facts in (one.get("state") or {}).items())
        lines.append(
            f"  container {one['name']}: ready={one['ready']}, {one['restartCount']} restarts, {state}"
        )
        path = logs.path(key_of(pod), one["name"])
        if path is not None:
            lines += [f"    {line}" for line in tail(path).splitlines()[-LOG_LINES:]]
    return lines
