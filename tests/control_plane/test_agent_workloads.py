"""Deployments, ReplicaSets and Services on the embedded node."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from agent_cluster import (
    RULES,
    Cluster,
    cluster,
    container,
    deployment,
    living,
    pod,
    probe,
    running,
    service,
    status_of,
)
from berth_local.agent.client import DEPLOYMENTS, EVENTS, PODS, SERVICES
from berth_local.agent.plan.objects import condition, time_text


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path / "state") as made:
        yield made


async def change(here: Cluster, spec: dict[str, Any]) -> None:
    stored = await here.client.merge(DEPLOYMENTS, "default", "web", {"spec": spec})
    # So that what is awaited next is the change's effect, not the state before it.
    here.caches["deployments"].put(stored)


def with_version(number: str, **more: Any) -> list[dict[str, Any]]:
    return [container(env=[{"name": "VERSION", "value": number}], **more)]


async def test_a_deployment_is_served_by_its_service(here: Cluster) -> None:
    await here.create(SERVICES, service())
    await here.create(DEPLOYMENTS, deployment(replicas=2))
    web = await here.available(replicas=2)
    assert status_of(web, "Available") == "True"
    progressing = condition(web, "Progressing")
    assert progressing is not None
    assert progressing["reason"] == "NewReplicaSetAvailable"
    assert web["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
    endpoint = await here.serving(2)
    assert len({(await here.ask(endpoint))["pid"] for _ in range(4)}) == 2


async def test_a_service_refuses_until_a_pod_is_ready_and_again_when_none_is(here: Cluster) -> None:
    await here.create(SERVICES, service())
    await here.create(DEPLOYMENTS, deployment(container(readinessProbe=probe(failureThreshold=1))))
    endpoint = await here.endpoint()
    with pytest.raises(aiohttp.ClientConnectorError):
        await here.ask(endpoint)
    starting = await here.until(lambda: running(here.pods()))
    await here.until(
        lambda: here.told("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503")
    )
    await here.tell(starting, "/ready")
    await here.serving()
    await here.ask(endpoint)
    await here.tell(starting, "/unready")
    await here.serving(0)
    with pytest.raises(aiohttp.ClientConnectorError):
        await here.ask(endpoint)


async def test_scaling_up_and_down_and_to_zero(here: Cluster) -> None:
    await here.create(DEPLOYMENTS, deployment())
    for replicas in (3, 1, 0, 2):
        await change(here, {"replicas": replicas})
        await here.available(replicas=replicas)
        await here.until(lambda replicas=replicas: len(here.pods()) == replicas)  # type: ignore[misc]
    assert len(list(here.caches["replicasets"])) == 1


async def test_a_rolling_update_never_stops_serving(here: Cluster) -> None:
    await here.create(SERVICES, service())
    await here.create(DEPLOYMENTS, deployment(*with_version("1"), replicas=2))
    await here.available(replicas=2)
    endpoint = await here.serving(2)
    versions: list[str] = []
    rolled = asyncio.Event()

    async def keep_asking() -> None:
        while not rolled.is_set():
            versions.append((await here.ask(endpoint))["env"]["VERSION"])

    asking = asyncio.create_task(keep_asking())
    await change(here, {"template": {"spec": {"containers": with_version("2")}}})
    await here.available(replicas=2)
    await here.until(lambda: len(here.pods()) == 2)
    await here.serving(2)
    rolled.set()
    await asking
    assert versions[0] == "1"
    assert versions[-1] == "2"
    web = here.get("deployments", "web")
    assert web is not None
    assert web["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
    sizes = sorted(one["spec"]["replicas"] for one in here.caches["replicasets"])
    assert sizes == [0, 2]


async def test_a_broken_update_leaves_the_old_pod_serving_and_going_back_reuses_its_replica_set(
    here: Cluster,
) -> None:
    await here.create(DEPLOYMENTS, deployment(*with_version("1"), progressDeadlineSeconds=2))
    await here.available()
    (old,) = here.pods()
    await change(here, {"template": {"spec": {"containers": with_version("2", command=["false"])}}})

    def failed() -> bool:
        found = condition(here.get("deployments", "web") or {}, "Progressing")
        return found is not None and found["reason"] == "ProgressDeadlineExceeded"

    await here.until(failed)
    assert status_of(here.get("pods", old["metadata"]["name"]) or {}, "Ready") == "True"
    template = {"spec": {"containers": [{**with_version("1")[0]}]}}
    await change(here, {"template": template})
    web = await here.available()
    assert web["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
    await here.until(lambda: len(here.pods()) == 1)
    assert here.pods()[0]["metadata"]["uid"] == old["metadata"]["uid"]
    assert len(list(here.caches["replicasets"])) == 2


async def test_recreate_has_no_two_versions_at_once(here: Cluster) -> None:
    most: list[int] = []
    here.caches["pods"].subscribe(lambda _: most.append(len(here.pods())))
    await here.create(DEPLOYMENTS, deployment(*with_version("1"), strategy={"type": "Recreate"}))
    await here.available()
    await change(here, {"template": {"spec": {"containers": with_version("2")}}})
    await here.until(lambda: len(list(here.caches["replicasets"])) == 2)
    await here.available()
    assert max(most) == 1


async def test_a_deleted_pod_is_replaced(here: Cluster) -> None:
    await here.create(DEPLOYMENTS, deployment())
    await here.available()
    (first,) = here.pods()
    await here.client.delete(PODS, "default", first["metadata"]["name"], first["metadata"]["uid"])
    await here.until(
        lambda: [one["metadata"]["uid"] for one in living(here.pods())] != [first["metadata"]["uid"]]
    )
    await here.available()


async def test_deleting_a_deployment_ends_all_that_came_of_it(here: Cluster) -> None:
    await here.create(DEPLOYMENTS, deployment(replicas=2))
    web = await here.available(replicas=2)
    await here.client.delete(DEPLOYMENTS, "default", "web", web["metadata"]["uid"])
    await here.until(lambda: not here.pods() and not list(here.caches["replicasets"]))
    assert not list((here.plane.folder / "node" / "pods").iterdir())


async def test_nothing_is_written_once_all_is_as_it_should_be(here: Cluster) -> None:
    await here.create(SERVICES, service())
    await here.create(
        DEPLOYMENTS, deployment(container(startupProbe=probe(), livenessProbe=probe()), replicas=2)
    )
    await here.available(replicas=2)
    await here.endpoint()
    written: list[Any] = []
    await asyncio.sleep(1.0)
    for cache in here.caches.values():
        cache.subscribe(written.append)
    # Three probe periods: long enough for anything that repeats itself to show.
    await asyncio.sleep(3.0)
    assert written == []


async def test_a_load_balancer_is_given_its_address(here: Cluster) -> None:
    await here.create(SERVICES, service(type="LoadBalancer"))
    endpoint = await here.endpoint()
    found = await here.until(
        lambda: next(
            (s for s in here.caches["services"] if (s["status"].get("loadBalancer") or {}).get("ingress")),
            None,
        )
    )
    (ingress,) = found["status"]["loadBalancer"]["ingress"]
    assert endpoint == f"http://{ingress['ip']}:8080"


async def test_where_pods_share_one_address_each_gets_a_port_of_its_own(tmp_path: Path) -> None:
    async with cluster(tmp_path / "state", replace(RULES, own_addresses=False)) as here:
        await here.create(SERVICES, service())
        await here.create(DEPLOYMENTS, deployment(container(startupProbe=probe()), replicas=2))
        await here.serving(2)
        assert {one["status"]["podIP"] for one in here.pods()} == {"127.0.0.1"}
        endpoint = await here.endpoint()
        assert len({(await here.ask(endpoint))["env"]["BERTH_PORT"] for _ in range(4)}) == 2


async def test_a_restart_keeps_the_objects_and_runs_everything_anew(tmp_path: Path) -> None:
    async with cluster(tmp_path / "state") as here:
        await here.create(SERVICES, service())
        await here.create(DEPLOYMENTS, deployment())
        await here.create(PODS, {**pod(name="alone"), "metadata": {"name": "alone", "namespace": "default"}})
        before = await here.ask(await here.serving())
        (first,) = here.pods()
    async with cluster(tmp_path / "state") as here:
        await here.until(lambda: [status_of(one, "Ready") for one in here.pods()] == ["True"])
        after = await here.ask(await here.serving())
        assert first["metadata"]["uid"] != here.pods()[0]["metadata"]["uid"]
        assert after["pid"] != before["pid"]
        await here.until(lambda: status_of(here.get("pods", "alone") or {}, "Ready") == "True")


async def test_events_older_than_an_hour_are_gone_after_a_start(tmp_path: Path) -> None:
    about = {"apiVersion": "v1", "kind": "Node", "name": "berth-local"}
    async with cluster(tmp_path / "state") as here:
        for name, age in (("old", timedelta(hours=2)), ("young", timedelta(minutes=30))):
            meta = {"name": name, "namespace": "default"}
            last = time_text(datetime.now(UTC) - age)
            body = {"metadata": meta, "involvedObject": about, "reason": "Test", "lastTimestamp": last}
            await here.create(EVENTS, {"apiVersion": "v1", "kind": "Event", **body})
    async with cluster(tmp_path / "state") as here:
        await here.until(lambda: [one["metadata"]["name"] for one in here.events("Test")] == ["young"])
