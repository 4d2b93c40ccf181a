"""One Workspace from what it asks for to what is there: observe, plan, apply."""

import logging
from collections.abc import Callable

from berth_operator.api.names import FIELD_MANAGER
from berth_operator.api.workspace import InvalidWorkspace, Workspace, parse_workspace
from berth_operator.cluster_cache import (
    DEPLOYMENTS,
    EVENTS,
    SERVICES,
    WORKSPACES,
    ClusterCache,
    Key,
    Object,
    Snapshot,
)
from berth_operator.kube import KubeClient, KubeError, NotFound, Refused, Resource
from berth_operator.plan.differences import covers, digest
from berth_operator.plan.events import event_between
from berth_operator.plan.metadata import is_controlled_by, owner_of
from berth_operator.plan.reasons import Finding, Reason
from berth_operator.plan.status import status
from berth_operator.plan.workload import Workload, plan_workload
from berth_operator.presets import PresetCatalogue
from berth_operator.settings import Settings

log = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS = 30.0
"""How soon an obstacle that no watch would tell of (a foreign object, a policy) is looked at again."""

BLOCKED = frozenset({Reason.NAME_CONFLICT, Reason.REFUSED_BY_CLUSTER})


class Reconciler:
    """Makes the cluster hold what Workspaces ask for. The only code that decides to write."""

    def __init__(
        self,
        client: KubeClient,
        cache: ClusterCache,
        catalogue: PresetCatalogue,
        settings: Settings,
        now: Callable[[], str],
    ) -> None:
        self._client = client
        self._cache = cache
        self._catalogue = catalogue
        self._settings = settings
        self._now = now
        # What was applied, by object: (digest of what was meant, digest of what the API server made of it).
        # Without it, an object in which another writer holds a field would be applied again for ever.
        self._applied: dict[tuple[Resource, Key], tuple[str, str]] = {}

    async def reconcile(self, key: Key) -> float | None:
        """Bring one Workspace up to date; return after how many seconds to look again, if no event would tell.

        Raises `KubeError` if the API server cannot have it now.
        """
        snapshot = self._cache.snapshot(key)
        if snapshot.workspace is None or snapshot.workspace["metadata"].get("deletionTimestamp"):
            # Owner references delete what was made for it.
            self._forget(key)
            return None
        if not await self._still_there(key, snapshot):
            return None
        workspace, planned = self._plan(snapshot.workspace)
        if isinstance(planned, Workload):
            refusal = await self._make_true(key, workspace, planned)
        else:
            refusal = planned
        await self._report(snapshot.workspace, key, workspace, refusal)
        return LOOK_AGAIN_SECONDS if refusal is not None and refusal.reason in BLOCKED else None

    def _plan(self, raw: Object) -> tuple[Workspace, Workload | Finding]:
        try:
            workspace = parse_workspace(raw)
        except InvalidWorkspace as error:
            return _unreadable(raw), Finding(Reason.INVALID_WORKSPACE, str(error), terminal=True)
        return workspace, plan_workload(workspace, self._catalogue, self._settings)

    async def _still_there(self, key: Key, snapshot: Snapshot) -> bool:
        """Ask before creating: a deletion that a broken watch lost must not bring children back."""
        if snapshot.workspace is None or (snapshot.observed.deployment and snapshot.observed.service):
            return snapshot.workspace is not None
        live = await self._client.get(WORKSPACES, *key)
        if live is not None and live["metadata"]["uid"] == snapshot.workspace["metadata"]["uid"]:
            return True
        self._cache.remove(WORKSPACES, snapshot.workspace)
        if live is not None:
            self._cache.put(WORKSPACES, live)
            raise KubeError(
                0, "Recreated", f"Workspace {key[1]} was deleted and made again; looking at the new one"
            )
        self._forget(key)
        return False

    async def _make_true(self, key: Key, workspace: Workspace, workload: Workload) -> Finding | None:
        for resource, wanted in ((DEPLOYMENTS, workload.deployment), (SERVICES, workload.service)):
            try:
                refusal = await self._ensure(resource, key, wanted, workspace.metadata.uid)
            except Refused as error:
                refusal = Finding(
                    Reason.REFUSED_BY_CLUSTER,
                    f'the cluster refuses {wanted["kind"]} "{key[1]}": {error}; change what it names, in the Workspace '
                    "or in the cluster's policies",
                )
            if refusal is not None:
                return refusal
        return None

    async def _ensure(self, resource: Resource, key: Key, wanted: Object, uid: str) -> Finding | None:
        observed = self._cache.snapshot(key).observed
        live = observed.deployment if resource is DEPLOYMENTS else observed.service
        meant = digest(wanted)
        if live is None:
            live = await self._client.get(resource, *key)
        if live is not None:
            if not is_controlled_by(live, uid):
                return _conflict(live, wanted)
            if covers(live, wanted) or self._applied.get((resource, key)) == (meant, _essence(live)):
                self._cache.put(resource, live)
                return None
        answer = await self._client.apply(resource, wanted)
        log.info("%s %s/%s %s", wanted["kind"], *key, "created" if live is None else "updated")
        self._applied[resource, key] = (meant, _essence(answer))
        self._cache.put(resource, answer)
        return None

    async def _report(self, raw: Object, key: Key, workspace: Workspace, refusal: Finding | None) -> None:
        previous = raw.get("status")
        previous = previous if isinstance(previous, dict) else {}
        current = status(workspace, refusal, self._cache.snapshot(key).observed, previous, self._now())
        if all(previous.get(field) == value for field, value in current.items()):
            return
        try:
            answer = await self._client.merge(WORKSPACES, *key, {"status": current}, "status")
        except NotFound:
            return
        self._cache.put(WORKSPACES, answer)
        if (note := event_between(previous, current)) is not None:
            await self._post(raw, note.type, note.reason, note.message)

    async def _post(self, raw: Object, kind: str, reason: str, message: str) -> None:
        meta, now = raw["metadata"], self._now()
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{meta['name'][:200]}.", "namespace": meta["namespace"]},
            "involvedObject": {
                "apiVersion": raw["apiVersion"],
                "kind": raw["kind"],
                **{field: meta[field] for field in ("name", "namespace", "uid", "resourceVersion")},
            },
            "type": kind,
            "reason": reason,
            "message": message,
            "source": {"component": FIELD_MANAGER},
            "reportingComponent": FIELD_MANAGER,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            await self._client.create(EVENTS, body)
        except KubeError as error:
            # The condition holds the same words; failing the reconcile for its Event would help nobody.
            log.warning(
                "event %s for workspace %s/%s not posted: %s", reason, meta["namespace"], meta["name"], error
            )

    def _forget(self, key: Key) -> None:
        for resource in (DEPLOYMENTS, SERVICES):
            self._applied.pop((resource, key), None)


def _conflict(live: Object, wanted: Object) -> Finding:
    what = f'{wanted["kind"]} "{wanted["metadata"]["name"]}"'
    if owner_of(live) == owner_of(wanted):
        return Finding(
            Reason.NAME_CONFLICT, f"{what} of the Workspace that had this name before is still being deleted"
        )
    return Finding(
        Reason.NAME_CONFLICT,
        f"there is a {what} that this Workspace did not make; rename or delete it, or give the Workspace another name",
    )


def _essence(live: Object) -> str:
    """Return the digest of what can be meant of an object: not its status, nor what changes with every write."""
    meta = {
        field: live["metadata"].get(field) for field in ("labels", "annotations", "ownerReferences", "uid")
    }
    return digest([meta, live.get("spec")])


def _unreadable(raw: Object) -> Workspace:
    """Return a stand-in for a Workspace that cannot be read, so that its status can be reported."""
    meta = raw["metadata"]
    return Workspace.model_validate(
        {
            "metadata": {
                "name": meta["name"],
                "namespace": meta["namespace"],
                "uid": meta.get("uid", ""),
                "generation": meta.get("generation", 0),
            }
        }
    )
