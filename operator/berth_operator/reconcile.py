"""One Workspace from what it asks for to what is there: observe, plan, apply."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

from berth_operator.api.workspace import InvalidWorkspace, Workspace, parse_workspace
from berth_operator.children import (
    PUT_ASIDE,
    RESOURCES,
    Identity,
    children,
    conflict,
    essence,
    identity,
    watched,
)
from berth_operator.cluster_cache import (
    DEPLOYMENTS,
    SERVICES,
    STATEFUL_SETS,
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
from berth_operator.plan.fit import Fit
from berth_operator.plan.group import next_step, peers_name
from berth_operator.plan.metadata import is_controlled_by
from berth_operator.plan.observed import Observed, is_of_group, is_put_aside
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


Unwatched = dict[Identity, Object | None]
"""Children that no watch has told of, by kind and name, as they were found: None where there is none."""


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
        unwatched = await self._look_closely(key, snapshot, planned)
        if unwatched is None:
            return None
        refusal = (
            await self._make_true(key, workspace, planned, unwatched)
            if isinstance(planned, Workload)
            else planned
        )
        fit = planned.fit if isinstance(planned, Workload) else None
        finding = await self._report(key, snapshot.workspace, workspace, refusal, fit)
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
        self, key: Key, snapshot: Snapshot, planned: Workload | Finding
    ) -> Unwatched | None:
        """Ask before creating; return what has the names of the children that no watch has told of.

        A deletion that a broken watch lost must not bring children back: None where the Workspace is gone. What is
        somebody else's must not be taken over. All is asked at once, for a new Workspace waits for it.
        """
        seen = snapshot.observed
        asked: list[Identity] = []
        is_whole = seen.controller is not None and seen.service is not None
        if isinstance(planned, Workload):
            asked = [
                child for wanted in children(planned) if watched(seen, *(child := identity(wanted))) is None
            ]
            is_whole = not asked
        if snapshot.workspace is None or is_whole:
            return {}
        live, *found = await asyncio.gather(
            *(self._client.get(resource, *own) for resource, own in ((WORKSPACES, key), *asked)),
            return_exceptions=True,
        )
        if isinstance(live, BaseException):
            raise live
        if live is not None and live["metadata"]["uid"] == snapshot.workspace["metadata"]["uid"]:
            # One that could not be read is asked for again, where a refusal has its place in the status.
            pairs = zip(asked, found, strict=True)
            return {child: one for child, one in pairs if not isinstance(one, BaseException)}
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
        unwatched: Unwatched,
    ) -> Finding | None:
        for wanted in children(workload):
            try:
                if wanted is workload.deployment and not await self._has_room(key, wanted, workspace):
                    continue
                refusal = await self._ensure(key, wanted, workspace, unwatched)
            except Refused as error:
                culprit = Culprit(wanted["kind"], wanted["metadata"]["name"])
                refusal = Finding(
                    Reason.REFUSED_BY_CLUSTER,
                    f"the cluster refuses {culprit}: {error}",
                    "change what it names, in the Workspace or in the cluster's policies",
                    culprit,
                    cause=wanted["kind"],
                )
            if refusal is not None:
                return refusal
        return None

    async def _has_room(self, key: Key, wanted: Object, workspace: Workspace) -> bool:
        """Put aside what made the pods if that was of another kind; return whether its last pod is gone."""
        observed = self._cache.snapshot(key).observed
        to_group = wanted["kind"] == "StatefulSet"
        other, live = (
            (DEPLOYMENTS, observed.deployment) if to_group else (STATEFUL_SETS, observed.stateful_set)
        )
        if live is None or not is_controlled_by(live, workspace.metadata.uid):
            return True
        if not is_put_aside(live):
            self._cache.put(other, await self._client.merge(other, *key, PUT_ASIDE))
            log.info("%s %s/%s put aside", "Deployment" if to_group else "StatefulSet", *key)
        has_begun = observed.group if to_group else observed.deployment
        if has_begun is not None and not is_put_aside(has_begun):
            return True
        return all(is_of_group(pod) == to_group for pod in observed.pods)

    async def _ensure(
        self, key: Key, wanted: Object, workspace: Workspace, unwatched: Unwatched
    ) -> Finding | None:
        observed = self._cache.snapshot(key).observed
        resource, own = identity(wanted)
        live = watched(observed, resource, own)
        if live is None:
            known = (resource, own) in unwatched
            live = unwatched[resource, own] if known else await self._client.get(resource, *own)
        if resource is STATEFUL_SETS:
            wanted = next_step(wanted, live, observed.pods)
        meant = digest(wanted)
        if live is not None:
            if not is_controlled_by(live, workspace.metadata.uid):
                return conflict(live, wanted)
            if resource is DEPLOYMENTS and scales_itself(workspace):
                wanted = with_live_replicas(wanted, live)
            if resource is SERVICES and (alien := alien_selectors(live, wanted)):
                # Apply leaves keys that another writer owns, and this one takes the model's pods off its Service.
                removal = {"spec": {"selector": dict.fromkeys(alien)}}
                live = await self._client.merge(SERVICES, *own, removal)
            if covers(live, wanted) or self._applied.get((resource, own)) == (meant, essence(live)):
                self._cache.put(resource, live)
                return None
        answer = await self._client.apply(resource, wanted)
        log.info("%s %s/%s %s", wanted["kind"], *own, "created" if live is None else "updated")
        self._applied[resource, own] = (meant, essence(answer))
        self._cache.put(resource, answer)
        return None

    async def _report(
        self, key: Key, raw: Object, workspace: Workspace, refusal: Finding | None, fit: Fit | None
    ) -> Finding | None:
        """Write the status, from what the objects are now; return what keeps the Workspace from serving."""
        observed = await self._on_demand.complete(self._cache.snapshot(key).observed, self._now())
        if self._health is not None:
            self._health.follow(key, [pod for pod in observed.current_pods if asks_for_health(pod)])
            observed = replace(observed, reports=self._health.reports(key))
        previous = raw.get("status")
        previous = previous if isinstance(previous, dict) else {}
        current = report(workspace, refusal, observed, previous, self._now(), fit)
        await self._reporter.tell(key, raw, previous, current)
        return current.finding

    def _forget(self, key: Key) -> None:
        for resource in RESOURCES.values():
            self._applied.pop((resource, key), None)
        self._applied.pop((SERVICES, (key[0], peers_name(key[1]))), None)
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
