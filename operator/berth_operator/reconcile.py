"""One Workspace from what it asks for to what is there: observe, plan, apply."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

from berth_operator.api.workspace import InvalidWorkspace, Workspace, parse_workspace
from berth_operator.cluster_cache import (
    DEPLOYMENTS,
    SERVICES,
    WORKSPACES,
    ClusterCache,
    Key,
    Object,
    Snapshot,
)
from berth_operator.kube import KubeClient, KubeError, Refused, Resource
from berth_operator.observe.config_maps import ConfigMaps
from berth_operator.observe.health import HealthWatch
from berth_operator.observe.on_demand import OnDemand
from berth_operator.plan.differences import covers, digest
from berth_operator.plan.metadata import is_controlled_by, owner_of
from berth_operator.plan.observed import Observed
from berth_operator.plan.questions import asks_for_health
from berth_operator.plan.reasons import Culprit, Finding, Reason
from berth_operator.plan.replicas import scales_itself, with_live_replicas
from berth_operator.plan.server_config import ConfigMapData
from berth_operator.plan.service import alien_selectors
from berth_operator.plan.status import report
from berth_operator.plan.workload import Workload, plan_workload
from berth_operator.presets import PresetCatalogue
from berth_operator.reporting import Reporter
from berth_operator.settings import Settings

log = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS = 30.0
"""How soon an obstacle that no watch would tell of (a foreign object, a policy) is looked at again."""

STARTING_SECONDS = 20.0
"""How soon a Workspace that does not serve yet is looked at again: pods' Events and ages have no watch."""

CONFIG_SECONDS = 20.0
"""How soon an edit of a ConfigMap is seen. Kubelets take about a minute for theirs."""

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
        health: HealthWatch | None = None,
    ) -> None:
        self._client = client
        self._cache = cache
        self._catalogue = catalogue
        self._settings = settings
        self._now = now
        self._health = health
        self._on_demand = OnDemand(client, cache)
        self._config_maps = ConfigMaps(client)
        self._reporter = Reporter(client, cache, now)
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
        workspace, planned = await self._plan(key, snapshot.workspace, snapshot.observed)
        unwatched = await self._look_closely(key, snapshot, creates=isinstance(planned, Workload))
        if unwatched is None:
            return None
        refusal = (
            await self._make_true(key, workspace, planned, unwatched)
            if isinstance(planned, Workload)
            else planned
        )
        finding = await self._report(key, snapshot.workspace, workspace, refusal)
        if isinstance(planned, Workload):
            await self._reporter.warn(key, snapshot.workspace, planned.warnings)
        return _look_again(workspace, refusal, finding)

    async def _plan(self, key: Key, raw: Object, observed: Observed) -> tuple[Workspace, Workload | Finding]:
        try:
            workspace = parse_workspace(raw)
        except InvalidWorkspace as error:
            return _unreadable(raw), Finding(
                Reason.INVALID_WORKSPACE, str(error), "", Culprit("Workspace", key[1]), terminal=True
            )
        config: ConfigMapData | None = None
        if workspace.inference is not None and workspace.inference.config is not None:
            config = await self._config_maps.read(key, workspace.inference.config)
        return workspace, plan_workload(workspace, self._catalogue, self._settings, config, observed)

    async def _look_closely(
        self, key: Key, snapshot: Snapshot, *, creates: bool
    ) -> dict[Resource, Object | None] | None:
        """Ask before creating; return what has the names of the children that no watch has told of.

        A deletion that a broken watch lost must not bring children back: None where the Workspace is gone. What is
        somebody else's must not be taken over. All is asked at once, for a new Workspace waits for it.
        """
        children = ((DEPLOYMENTS, snapshot.observed.deployment), (SERVICES, snapshot.observed.service))
        missing = [resource for resource, known in children if known is None]
        if snapshot.workspace is None or not missing:
            return {}
        asked = missing if creates else []
        live, *found = await asyncio.gather(
            *(self._client.get(resource, *key) for resource in (WORKSPACES, *asked)), return_exceptions=True
        )
        if isinstance(live, BaseException):
            raise live
        if live is not None and live["metadata"]["uid"] == snapshot.workspace["metadata"]["uid"]:
            # One that could not be read is asked for again, where a refusal has its place in the status.
            pairs = zip(asked, found, strict=True)
            return {resource: child for resource, child in pairs if not isinstance(child, BaseException)}
        self._cache.remove(WORKSPACES, snapshot.workspace)
        if live is not None:
            self._cache.put(WORKSPACES, live)
            raise KubeError(
                0, "Recreated", f"Workspace {key[1]} was deleted and made again; looking at the new one"
            )
        self._forget(key)
        return None

    async def _make_true(
        self,
        key: Key,
        workspace: Workspace,
        workload: Workload,
        unwatched: dict[Resource, Object | None],
    ) -> Finding | None:
        for resource, wanted in ((DEPLOYMENTS, workload.deployment), (SERVICES, workload.service)):
            try:
                refusal = await self._ensure(resource, key, wanted, workspace, unwatched)
            except Refused as error:
                refusal = Finding(
                    Reason.REFUSED_BY_CLUSTER,
                    f'the cluster refuses {wanted["kind"]} "{key[1]}": {error}',
                    "change what it names, in the Workspace or in the cluster's policies",
                    Culprit(wanted["kind"], key[1]),
                    cause=wanted["kind"],
                )
            if refusal is not None:
                return refusal
        return None

    async def _ensure(
        self,
        resource: Resource,
        key: Key,
        wanted: Object,
        workspace: Workspace,
        unwatched: dict[Resource, Object | None],
    ) -> Finding | None:
        observed = self._cache.snapshot(key).observed
        live = observed.deployment if resource is DEPLOYMENTS else observed.service
        meant = digest(wanted)
        if live is None:
            known = resource in unwatched
            live = unwatched[resource] if known else await self._client.get(resource, *key)
        if live is not None:
            if not is_controlled_by(live, workspace.metadata.uid):
                return _conflict(live, wanted)
            if resource is DEPLOYMENTS and scales_itself(workspace):
                wanted = with_live_replicas(wanted, live)
            if resource is SERVICES and (alien := alien_selectors(live, wanted)):
                # Apply leaves keys that another writer owns, and this one takes the model's pods off its Service.
                removal = {"spec": {"selector": dict.fromkeys(alien)}}
                live = await self._client.merge(SERVICES, *key, removal)
            if covers(live, wanted) or self._applied.get((resource, key)) == (meant, _essence(live)):
                self._cache.put(resource, live)
                return None
        answer = await self._client.apply(resource, wanted)
        log.info("%s %s/%s %s", wanted["kind"], *key, "created" if live is None else "updated")
        self._applied[resource, key] = (meant, _essence(answer))
        self._cache.put(resource, answer)
        return None

    async def _report(
        self, key: Key, raw: Object, workspace: Workspace, refusal: Finding | None
    ) -> Finding | None:
        """Write the status, from what the objects are now; return what keeps the Workspace from serving."""
        observed = await self._on_demand.complete(self._cache.snapshot(key).observed, self._now())
        if self._health is not None:
            self._health.follow(key, [pod for pod in observed.current_pods if asks_for_health(pod)])
            observed = replace(observed, reports=self._health.reports(key))
        previous = raw.get("status")
        previous = previous if isinstance(previous, dict) else {}
        current = report(workspace, refusal, observed, previous, self._now())
        await self._reporter.tell(key, raw, previous, current)
        return current.finding

    def _forget(self, key: Key) -> None:
        for resource in (DEPLOYMENTS, SERVICES):
            self._applied.pop((resource, key), None)
        self._reporter.forget(key)
        if self._health is not None:
            self._health.follow(key, ())


def _look_again(workspace: Workspace, refusal: Finding | None, finding: Finding | None) -> float | None:
    """After how many seconds what no watch tells may have changed; None where watches tell everything."""
    waits = []
    if refusal is not None and refusal.reason in BLOCKED:
        waits.append(LOOK_AGAIN_SECONDS)
    if workspace.inference is not None and workspace.inference.config is not None:
        waits.append(CONFIG_SECONDS)
    if refusal is None and finding is not None and finding.reason is not Reason.STOPPED:
        waits.append(STARTING_SECONDS)
    return min(waits, default=None)


def _conflict(live: Object, wanted: Object) -> Finding:
    culprit = Culprit(wanted["kind"], wanted["metadata"]["name"])
    if owner_of(live) == owner_of(wanted):
        return Finding(
            Reason.NAME_CONFLICT,
            f"{culprit} of the Workspace that had this name before is still being deleted",
            "wait",
            culprit,
            cause="deleted",
        )
    return Finding(
        Reason.NAME_CONFLICT,
        f"there is a {culprit} that this Workspace did not make",
        "rename or delete it, or give the Workspace another name",
        culprit,
        cause=wanted["kind"],
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
