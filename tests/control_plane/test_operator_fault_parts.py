"""Calls that no Workspace in particular is the cause of fail in every way: the Lease, who holds GPUs, pods' health."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from berth_operator import leadership
from berth_operator.cluster_cache import ClusterCache
from berth_operator.kube import KubeClient, KubeError
from berth_operator.leadership import LEASES, Leadership
from berth_operator.observe import health
from berth_operator.observe.health import HealthWatch
from berth_operator.observe.on_demand import OnDemand
from berth_operator.plan.observed import Observed
from berth_operator.process import microtime_now
from control_plane.api_calls import LEASE_CALLS, NODE_CALLS, Call
from control_plane.api_faults import FAULTS, FAULTY_CALL, Fault, Faults, enact, times
from control_plane.api_proxy import ApiProxy
from control_plane.cluster import eventually
from control_plane.planes import ControlPlane

pytestmark = pytest.mark.thorough

SOON_SECONDS = 10.0

HEALTH = Call("get", "/health of a pod")
"""Not of the API server, and so not among its calls."""


@pytest.fixture(scope="module")
def proxy(control_plane: ControlPlane) -> Iterator[ApiProxy]:
    with ApiProxy(control_plane.kubeconfig).running() as running:
        yield running


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("berth_operator.kube.REQUEST_SECONDS", 0.5)
    monkeypatch.setattr(leadership, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(leadership, "DURATION_SECONDS", 1)


@asynccontextmanager
async def suffering(
    proxy: ApiProxy, tmp_path: Path, call: Call, fault: Fault
) -> AsyncIterator[tuple[KubeClient, list[int]]]:
    """A client whose first such calls fail so, and how many are still to fail."""
    left = [times(call, fault)]

    def choose(made: Call, _request: web.Request, _body: str) -> Fault | None:
        if made != call or not left[0]:
            return None
        left[0] -= 1
        return fault

    proxy.faults = Faults(choose)
    async with await KubeClient.connect(str(proxy.write_kubeconfig(tmp_path / "kubeconfig"))) as client:
        yield client, left


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.parametrize("call", LEASE_CALLS, ids=str)
async def test_a_lease_is_taken_and_held_whatever_fails_once(
    proxy: ApiProxy,
    namespace: str,
    name: str,
    tmp_path: Path,
    call: Call,
    fault: Fault,
    record_property: Callable[[str, object], None],
) -> None:
    record_property(FAULTY_CALL, str(call))
    async with suffering(proxy, tmp_path, call, fault) as (client, left):
        leader = Leadership(client, (namespace, name), "me", microtime_now)
        # An answer that is lost may be our own lease: it is known again by its holder.
        await asyncio.wait_for(leader.acquire(), SOON_SECONDS)
        keeping = asyncio.create_task(leader.keep())

        async def renewed() -> bool:
            lease = await client.get(LEASES, namespace, name)
            return bool(lease and lease["spec"].get("holderIdentity") == "me" and not left[0])

        try:
            # Somebody else's calls fail, too, where they are the same ones.
            await eventually(lambda: _quietly(renewed), bool, "the lease is held")
            assert not keeping.done()
            assert leader.leads
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)


async def _quietly(look: Callable[[], Any]) -> Any:
    try:
        return await look()
    except KubeError:
        return None


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.parametrize("call", NODE_CALLS, ids=str)
async def test_who_holds_gpus_stays_unknown_while_it_cannot_be_read(
    proxy: ApiProxy,
    tmp_path: Path,
    call: Call,
    fault: Fault,
    record_property: Callable[[str, object], None],
) -> None:
    record_property(FAULTY_CALL, str(call))
    node = {"metadata": {"name": "gpu"}, "status": {"allocatable": {"nvidia.com/gpu": "1"}}}
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
    }
    pod = {
        "metadata": {"name": "w", "namespace": "n", "uid": "u"},
        "spec": {},
        "status": {"conditions": [condition]},
    }
    now = [0.0]
    async with suffering(proxy, tmp_path, call, fault) as (client, left):
        on_demand = OnDemand(client, ClusterCache(), lambda: now[0])
        seen = Observed(pods=(pod,), nodes=(node,))
        assert (await on_demand.complete(seen)).gpu_pods is None
        assert left == [0]
        now[0] += 600.0
        assert (await on_demand.complete(seen)).gpu_pods == ()


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.end != "half"], ids=str)
async def test_a_pod_that_cannot_be_asked_how_far_it_is_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, fault: Fault, record_property: Callable[[str, object], None]
) -> None:
    record_property(FAULTY_CALL, str(HEALTH))
    left = [times(HEALTH, fault)]

    async def answer(request: web.Request) -> web.StreamResponse:
        if left[0]:
            left[0] -= 1
            return await enact(fault, request, lambda: healthy(request))
        return await healthy(request)

    async def healthy(_request: web.Request) -> web.Response:
        return web.json_response({"status": "loading", "phase": "loading"})

    app = web.Application()
    app.router.add_get("/health", answer)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    monkeypatch.setattr(health, "SERVER_PORT", runner.addresses[0][1])
    monkeypatch.setattr(health, "TIMEOUT_SECONDS", 0.3)
    woken: list[Any] = []
    now = [0.0]
    watch = HealthWatch(woken.append, clock=lambda: now[0])
    pod = {"metadata": {"name": "w-1", "uid": "u"}, "status": {"podIP": "127.0.0.1"}}
    watch.follow(("n", "w"), [pod])
    try:
        async with watch.running():
            await eventually(_looked(left), lambda asked: asked, "the pod was asked")
            assert watch.reports(("n", "w")) == {}

            async def told() -> bool:
                now[0] += 60.0
                return bool(watch.reports(("n", "w")))

            await eventually(told, bool, "the pod has told")
            assert woken == [("n", "w")]
    finally:
        await runner.cleanup()


def _looked(left: list[int]) -> Callable[[], Any]:
    async def look() -> bool:
        return not left[0]

    return look
