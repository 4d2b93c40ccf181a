"""Facts that only a Workspace in trouble needs: read when asked for, kept for a moment, done without when refused."""

from __future__ import annotations

from typing import Any, cast

import pytest

from berth_operator.cluster_cache import ClusterCache
from berth_operator.kube import KubeClient, KubeError, Refused, Resource
from berth_operator.observe.on_demand import KEEP_SECONDS, REFUSED_SECONDS, OnDemand
from berth_operator.plan.diagnosis import diagnose
from unit.cluster_objects import NOW, event, node, observed, pod, runs, waits

NO_GPU = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."


class Api:
    """Answers lists, or fails as told."""

    def __init__(self, *objects: dict[str, Any], failure: Exception | None = None) -> None:
        self.objects, self.failure = list(objects), failure
        self.asked: list[tuple[str, str]] = []

    async def list_all(
        self, resource: Resource, namespace: str | None = None, selector: str = "", fields: str = ""
    ) -> list[dict[str, Any]]:
        self.asked.append((resource.plural, fields))
        if self.failure is not None:
            raise self.failure
        return self.objects


def on_demand(api: Api, now: list[float] | None = None) -> OnDemand:
    clock = now if now is not None else [0.0]
    return OnDemand(cast(KubeClient, api), ClusterCache(), lambda: clock[0])


STUCK = observed(pod(containerStatuses=[waits("ContainerCreating")]))
PENDING = observed(pod(scheduler=NO_GPU), nodes=(node(), node("cpu", gpus=0)))


async def test_events_are_read_of_a_pod_that_is_stuck_and_the_oldest_comes_first() -> None:
    api = Api(event("Late", "", "2026-01-01T10:00:05Z"), event("Early", "", "2026-01-01T10:00:01Z"))
    found = await on_demand(api).complete(STUCK)
    assert [one["reason"] for one in found.events["uid-ws-new-1"]] == ["Early", "Late"]
    ((kind, fields),) = api.asked
    assert kind == "events"
    assert "involvedObject.uid=uid-ws-new-1" in fields


async def test_a_pod_that_has_only_just_been_made_is_given_a_moment() -> None:
    new = pod(containerStatuses=[waits("ContainerCreating")])
    new["metadata"]["creationTimestamp"] = "2026-01-01T09:59:55Z"
    api = Api()
    await on_demand(api).complete(observed(new), NOW)
    assert api.asked == []
    new["metadata"]["creationTimestamp"] = "2026-01-01T09:59:00Z"
    await on_demand(api).complete(observed(new), NOW)
    assert len(api.asked) == 1


@pytest.mark.parametrize(
    "calm",
    [
        pytest.param(observed(pod(ready=True)), id="a pod that serves"),
        pytest.param(observed(pod(containerStatuses=[runs()])), id="a server that starts"),
        pytest.param(observed(), id="no pod"),
        pytest.param(
            observed(pod(phase="Failed", reason="NodeAffinity")), id="a pod that its node turned away"
        ),
    ],
)
async def test_nothing_is_read_where_nothing_is_asked(calm: Any) -> None:
    api = Api()
    assert await on_demand(api).complete(calm) == calm
    assert api.asked == []


async def test_holders_are_looked_for_on_the_nodes_that_have_gpus() -> None:
    holder = {
        "metadata": {"name": "h", "namespace": "x", "uid": "h"},
        "spec": {
            "nodeName": "n1",
            "containers": [{"env": [{"value": "private"}], "resources": {"limits": {"nvidia.com/gpu": "1"}}}],
        },
        "status": {"phase": "Running"},
    }
    api = Api(holder)
    found = await on_demand(api).complete(PENDING)
    assert api.asked == [("pods", "spec.nodeName=n1")]
    assert found.gpu_pods is not None
    assert [one["metadata"]["name"] for one in found.gpu_pods] == ["h"]
    assert "private" not in str(found.gpu_pods), (
        "nothing of others' pods is kept but what tells who holds a GPU"
    )


async def test_holders_are_looked_for_only_where_the_pod_could_run() -> None:
    waiting = pod(scheduler=NO_GPU, spec={"nodeSelector": {"pool": "b"}})
    api = Api()
    known = (node(labels={"pool": "a"}), node("n2", labels={"pool": "b"}))
    await on_demand(api).complete(observed(waiting, nodes=known))
    assert api.asked == [("pods", "spec.nodeName=n2")]


async def test_a_gpu_that_a_container_beside_the_others_holds_is_held() -> None:
    beside = {"name": "vllm", "restartPolicy": "Always", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    holder = {
        "metadata": {"name": "h", "namespace": "x", "uid": "h"},
        "spec": {"nodeName": "n1", "initContainers": [beside], "containers": [{"name": "front"}]},
        "status": {"phase": "Running"},
    }
    found = diagnose(await on_demand(Api(holder)).complete(PENDING), NOW)
    assert found is not None
    assert "pod x/h holds 1 on node n1" in found.message


async def test_a_burst_asks_once_and_later_is_asked_again() -> None:
    api, now = Api(event("A", "")), [0.0]
    facts = on_demand(api, now)
    await facts.complete(STUCK)
    await facts.complete(STUCK)
    assert len(api.asked) == 1
    now[0] += KEEP_SECONDS + 1
    await facts.complete(STUCK)
    assert len(api.asked) == 2


async def test_a_right_that_is_lacking_is_done_without_and_asked_for_seldom() -> None:
    api, now = Api(failure=Refused(403, "Forbidden", "no")), [0.0]
    facts = on_demand(api, now)
    for _ in range(5):
        found = await facts.complete(PENDING)
        assert found.gpu_pods is None
        now[0] += KEEP_SECONDS + 1
    assert len(api.asked) == 1
    now[0] += REFUSED_SECONDS
    await facts.complete(PENDING)
    assert len(api.asked) == 2


async def test_an_api_server_in_trouble_fails_no_reconcile() -> None:
    facts = on_demand(Api(failure=KubeError(503, "Unavailable", "later")))
    found = await facts.complete(STUCK)
    assert found.events == {"uid-ws-new-1": ()}
