"""What a cluster's controller manager does here: Deployments make ReplicaSets, ReplicaSets make pods."""

import logging
import secrets
from abc import ABC, abstractmethod
from datetime import UTC, datetime

from berth_local.agent.cache import Cache
from berth_local.agent.client import DEPLOYMENTS, PODS, REPLICA_SETS, ApiClient
from berth_local.agent.events import EventRecorder
from berth_local.agent.plan.deployment_status import deadline_in, deployment_status
from berth_local.agent.plan.objects import Key, Object, controller_uid, deleting, key_of, uid_of
from berth_local.agent.plan.replicas import plan_replica_set, pod_of, wanted_replicas
from berth_local.agent.plan.rollout import REVISION, plan_rollout, revision_of
from berth_operator.kube import Conflict, KubeError, NotFound, Resource
from berth_operator.workqueue import WorkQueue

log = logging.getLogger(__name__)

# The letters of Kubernetes' generated names: no vowels, so that no words come out.
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


class Controller(ABC):
    """Works on the keys that are due, one after the other, until cancelled."""

    def __init__(self, client: ApiClient, events: EventRecorder) -> None:
        self._client, self._events = client, events
        self._queue: WorkQueue[Key] = WorkQueue()

    @abstractmethod
    async def reconcile(self, key: Key) -> None:
        """Bring one object nearer to its spec."""

    async def run(self) -> None:
        """Work until cancelled; what fails is logged and comes back later."""
        try:
            while True:
                key = await self._queue.get()
                try:
                    await self.reconcile(key)
                except (Conflict, NotFound) as error:
                    log.debug("%s %s changed meanwhile: %s", type(self).__name__, key, error)
                    self._queue.failed(key)
                except (KubeError, OSError, ValueError, KeyError, TypeError) as error:
                    log.warning("%s %s: %s: %s", type(self).__name__, key, type(error).__name__, error)
                    self._queue.failed(key)
                else:
                    self._queue.done(key)
        finally:
            self._queue.close()

    async def _write_status(self, resource: Resource, cache: Cache, obj: Object, status: Object) -> None:
        if obj.get("status") == status:
            return
        stored = await self._client.replace_status(resource, {**obj, "status": status})
        cache.put({"apiVersion": obj["apiVersion"], "kind": obj["kind"], **stored})


class DeploymentController(Controller):
    """Rolls Deployments out, and keeps their status."""

    def __init__(
        self, client: ApiClient, events: EventRecorder, deployments: Cache, replica_sets: Cache, pods: Cache
    ) -> None:
        super().__init__(client, events)
        self._deployments, self._replica_sets, self._pods = deployments, replica_sets, pods
        deployments.subscribe(lambda deployment: self._queue.add(key_of(deployment)))
        replica_sets.subscribe(self._owner_due)
        pods.subscribe(self._pod_changed)

    async def reconcile(self, key: Key) -> None:
        """Take the next step of a Deployment's rollout and write its status."""
        deployment = self._deployments.get(key)
        if deployment is None or deleting(deployment):
            return
        owned = _controlled(self._replica_sets, deployment)
        owners = {uid_of(one) for one in owned}
        rollout = plan_rollout(
            deployment, owned, [pod for pod in self._pods if controller_uid(pod) in owners]
        )
        if rollout.create is not None:
            await self._create(deployment, rollout.create)
        by_name = {one["metadata"]["name"]: one for one in owned}
        for name, revision in rollout.revise.items():
            await self._patch(key, name, {"metadata": {"annotations": {REVISION: str(revision)}}})
        for name, replicas in rollout.scale.items():
            self._tell(deployment, name, replicas, wanted_replicas(by_name[name]))
            await self._patch(key, name, {"spec": {"replicas": replicas}})
        for name in rollout.delete:
            await self._client.delete(REPLICA_SETS, key.namespace, name, uid_of(by_name[name]))
            self._replica_sets.drop(by_name[name])
        if rollout.revision and revision_of(deployment) != rollout.revision:
            body = {"metadata": {"annotations": {REVISION: str(rollout.revision)}}}
            stored = await self._client.merge(DEPLOYMENTS, key.namespace, key.name, body)
            deployment = {"apiVersion": "apps/v1", "kind": "Deployment", **stored}
            self._deployments.put(deployment)
        status = deployment_status(deployment, _controlled(self._replica_sets, deployment), datetime.now(UTC))
        await self._write_status(DEPLOYMENTS, self._deployments, deployment, status)
        if (wait := deadline_in({**deployment, "status": status}, datetime.now(UTC))) is not None:
            self._queue.add_after(key, wait + 1)

    async def _create(self, deployment: Object, body: Object) -> None:
        stored = await self._client.create(REPLICA_SETS, body)
        self._tell(deployment, body["metadata"]["name"], wanted_replicas(body), 0)
        self._replica_sets.put({"apiVersion": "apps/v1", "kind": "ReplicaSet", **stored})

    async def _patch(self, key: Key, name: str, body: Object) -> None:
        stored = await self._client.merge(REPLICA_SETS, key.namespace, name, body)
        self._replica_sets.put({"apiVersion": "apps/v1", "kind": "ReplicaSet", **stored})

    def _tell(self, deployment: Object, name: str, replicas: int, before: int) -> None:
        way = "up" if replicas > before else "down"
        text = f"Scaled {way} replica set {name} from {before} to {replicas}"
        self._events.record(deployment, "ScalingReplicaSet", text, by="deployment-controller")

    def _owner_due(self, replica_set: Object) -> None:
        for owner in replica_set["metadata"].get("ownerReferences") or ():
            if owner.get("controller") and owner.get("kind") == "Deployment":
                self._queue.add(Key(replica_set["metadata"]["namespace"], owner["name"]))

    def _pod_changed(self, pod: Object) -> None:
        # A pod's coming and going matters to a Deployment that recreates, the rest it reads from ReplicaSets.
        owner = controller_uid(pod)
        for replica_set in self._replica_sets:
            if uid_of(replica_set) == owner:
                self._owner_due(replica_set)


class ReplicaSetController(Controller):
    """Keeps as many pods as each ReplicaSet wants, and its status."""

    def __init__(self, client: ApiClient, events: EventRecorder, replica_sets: Cache, pods: Cache) -> None:
        super().__init__(client, events)
        self._replica_sets, self._pods = replica_sets, pods
        replica_sets.subscribe(lambda replica_set: self._queue.add(key_of(replica_set)))
        pods.subscribe(self._owner_due)

    async def reconcile(self, key: Key) -> None:
        """Make or end pods and write the ReplicaSet's status."""
        replica_set = self._replica_sets.get(key)
        if replica_set is None:
            return
        pods = _controlled(self._pods, replica_set)
        plan = plan_replica_set(replica_set, pods, datetime.now(UTC))
        for _ in range(plan.create):
            await self._create(replica_set)
        for pod in plan.delete:
            await self._delete(replica_set, pod)
        if plan.create or plan.delete:
            pods = _controlled(self._pods, replica_set)
            plan = plan_replica_set(replica_set, pods, datetime.now(UTC))
        if not deleting(replica_set):
            await self._write_status(REPLICA_SETS, self._replica_sets, replica_set, plan.status)
        if plan.check_again is not None:
            self._queue.add_after(key, plan.check_again + 0.1)

    async def _create(self, replica_set: Object) -> None:
        body = pod_of(replica_set)
        name = body["metadata"]["generateName"] + "".join(secrets.choice(_LETTERS) for _ in range(5))
        body["metadata"]["name"] = name
        stored = await self._client.create(PODS, body)
        self._pods.put({"apiVersion": "v1", "kind": "Pod", **stored})
        self._events.record(
            replica_set, "SuccessfulCreate", f"Created pod: {name}", by="replicaset-controller"
        )

    async def _delete(self, replica_set: Object, pod: Object) -> None:
        meta = pod["metadata"]
        await self._client.delete(PODS, meta["namespace"], meta["name"], meta["uid"])
        # The watch tells the deletion a little later; until then it must not be counted, nor ended twice.
        self._pods.mark_deleting(pod)
        self._events.record(
            replica_set, "SuccessfulDelete", f"Deleted pod: {meta['name']}", by="replicaset-controller"
        )

    def _owner_due(self, pod: Object) -> None:
        for owner in pod["metadata"].get("ownerReferences") or ():
            if owner.get("controller") and owner.get("kind") == "ReplicaSet":
                self._queue.add(Key(pod["metadata"]["namespace"], owner["name"]))


def _controlled(cache: Cache, owner: Object) -> list[Object]:
    return [obj for obj in cache if controller_uid(obj) == uid_of(owner)]
