"""Binds pods to the node, or says why it cannot take them."""

import logging
from datetime import UTC, datetime

from berth_local.agent.cache import Cache
from berth_local.agent.client import PODS, ApiClient
from berth_local.agent.controllers import Controller
from berth_local.agent.events import EventRecorder
from berth_local.agent.plan.objects import Key, Object, deleting, key_of
from berth_local.agent.plan.pod_status import unscheduled_status
from berth_local.agent.plan.scheduling import unschedulable

log = logging.getLogger(__name__)


class Scheduler(Controller):
    """Looks at every pod without a node; those that do not fit are looked at again when another pod goes."""

    def __init__(self, client: ApiClient, events: EventRecorder, pods: Cache, node: Object) -> None:
        super().__init__(client, events)
        self._pods, self._node = pods, node
        pods.subscribe(self._pod_changed)

    async def reconcile(self, key: Key) -> None:
        """Bind one pod, or write why it stays pending."""
        pod = self._pods.get(key)
        if pod is None or deleting(pod) or pod["spec"].get("nodeName"):
            return
        name = self._node["metadata"]["name"]
        bound = [one for one in self._pods if one["spec"].get("nodeName") == name and _counts(one)]
        why = unschedulable(pod, self._node, bound)
        if why is None:
            await self._bind(key, pod, name)
            return
        status = unscheduled_status(pod, why, datetime.now(UTC))
        if any((pod.get("status") or {}).get(field) != value for field, value in status.items()):
            stored = await self._client.merge(PODS, key.namespace, key.name, {"status": status}, "status")
            self._pods.put({"apiVersion": "v1", "kind": "Pod", **stored})
            self._events.record(pod, "FailedScheduling", why, "Warning", by="default-scheduler")

    async def _bind(self, key: Key, pod: Object, node: str) -> None:
        stored = await self._client.bind(key.namespace, key.name, pod["metadata"]["uid"], node)
        self._pods.put({"apiVersion": "v1", "kind": "Pod", **stored})
        text = f"Successfully assigned {key} to {node}"
        self._events.record(pod, "Scheduled", text, by="default-scheduler")

    def _pod_changed(self, pod: Object) -> None:
        if not pod["spec"].get("nodeName"):
            self._queue.add(key_of(pod))
        if self._pods.get(key_of(pod)) is None or not _counts(pod):
            for waiting in self._pods:
                if not waiting["spec"].get("nodeName"):
                    self._queue.add(key_of(waiting))


def _counts(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
