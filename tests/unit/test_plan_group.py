"""A model over several nodes: when it is, what its pods are told, and how a group is replaced."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from berth_inference.settings import parse_command
from berth_operator.api.workspace import parse_workspace
from berth_operator.plan.diagnosis import findings
from berth_operator.plan.group import next_step
from berth_operator.plan.metadata import ANNOTATION_RENDERED
from berth_operator.plan.observed import REVISION_HASH, Observed
from berth_operator.plan.questions import lacks_pods
from berth_operator.plan.reasons import Finding, Reason
from berth_operator.plan.status import report
from berth_operator.plan.tree import explain
from berth_operator.plan.workload import Workload, plan_workload
from berth_operator.presets import load_presets
from berth_operator.settings import Settings
from chart.pod_security import restricted_violations
from unit.cluster_objects import NOW, SERVICE, crashed, event, node

CATALOGUE = load_presets()
MEDIUM = "phi-3-medium-4k-instruct"
VLLM = {"kaito.sh/runtime": "vllm"}
A10 = {"nvidia.com/gpu.memory": "24576", "nvidia.com/gpu.count": "1", "nvidia.com/gpu.product": "NVIDIA-A10"}
A100 = {"nvidia.com/gpu.memory": "81920", "nvidia.com/gpu.count": "1"}
SMALL = (node("n1", labels=A10), node("n2", labels=A10))
LARGE = (*SMALL, node("n3", labels=A100))
FIRST = "ws-0.ws-peers"


def workspace(count: int = 2, name: str = "ws", **annotations: str) -> Any:
    raw = {
        "metadata": {"name": name, "namespace": "ns", "uid": "uid-1", "annotations": {**VLLM, **annotations}},
        "resource": {"count": count},
        "inference": {"preset": {"name": MEDIUM}},
    }
    return parse_workspace(raw)


def plan(
    asked: Any = None, *, nodes: tuple[dict[str, Any], ...] | None = SMALL, **seen: Any
) -> Workload | Finding:
    return plan_workload(asked or workspace(), CATALOGUE, Settings(), observed=Observed(nodes=nodes, **seen))


def planned(asked: Any = None, **more: Any) -> Workload:
    found = plan(asked, **more)
    assert isinstance(found, Workload), found
    return found


def kind(asked: Any = None, **more: Any) -> str:
    found = plan(asked, **more)
    return str(found.reason) if isinstance(found, Finding) else str(found.deployment["kind"])


def vllm(found: Workload) -> dict[str, Any]:
    spec = found.deployment["spec"]["template"]["spec"]
    return next(one for one in spec["initContainers"] if one["name"] == "vllm")


@pytest.mark.parametrize(
    ("asked", "more", "expected"),
    [
        pytest.param(workspace(), {}, "StatefulSet", id="two nodes hold what one cannot"),
        pytest.param(workspace(), {"nodes": LARGE}, "Deployment", id="one holds it"),
        pytest.param(workspace(), {"nodes": None}, "Deployment", id="nodes may not be read"),
        pytest.param(workspace(), {"nodes": ()}, "Deployment", id="there are none yet"),
        pytest.param(workspace(1), {}, "DoesNotFit", id="one pod is asked for"),
        pytest.param(workspace(0), {}, "Deployment", id="none is, so that nothing has to fit"),
        pytest.param(
            workspace(**{"kaito.sh/bypass-resource-checks": "true"}), {}, "Deployment", id="somebody insists"
        ),
        pytest.param(
            workspace(**{"berth.dev/replicas": "external"}), {}, "DoesNotFit", id="an autoscaler scales it"
        ),
        pytest.param(
            workspace(**{"kaito.sh/runtime": "transformers"}), {}, "DoesNotFit", id="the runtime is another"
        ),
        pytest.param(workspace(41), {}, "DoesNotFit", id="there are more pods than layers"),
        pytest.param(workspace(name="w" * 52), {}, "StatefulSet", id="the longest name"),
        pytest.param(workspace(name="w" * 53), {}, "NotSupported", id="a name too long for a StatefulSet"),
        pytest.param(
            workspace(),
            {"nodes": (node("n1", labels={**A10, "nvidia.com/gpu.memory": "12288"}),)},
            "DoesNotFit",
            id="two of the nodes do not hold it either",
        ),
        pytest.param(
            workspace(3),
            {"nodes": (*SMALL, node("n3", labels={**A10, "nvidia.com/gpu.memory": "8192"}))},
            "DoesNotFit",
            id="one of the nodes that it would take is too small",
        ),
    ],
)
def test_a_group_is_made_where_vllm_needs_several_nodes_and_they_are_asked_for(
    asked: Any, more: dict[str, Any], expected: str
) -> None:
    assert kind(asked, **more) == expected


def test_what_runs_stays_when_nodes_come_and_go() -> None:
    group = planned().deployment
    assert kind(nodes=LARGE, stateful_set=group) == "StatefulSet"
    assert kind(nodes=None, stateful_set=group) == "StatefulSet"
    alone = {**planned(nodes=LARGE).deployment, "status": {"readyReplicas": 1}}
    assert kind(deployment=alone) == "Deployment"
    # An edit is judged by the nodes that there are, and where they are not known by what was judged before.
    assert kind(workspace(3), nodes=LARGE, stateful_set=group) == "Deployment"
    assert kind(workspace(3), nodes=None, stateful_set=group) == "StatefulSet"


def test_a_refusal_has_the_arithmetic_and_the_number_of_nodes_that_would_do() -> None:
    alone = plan(workspace(1))
    assert isinstance(alone, Finding)
    assert "on 1 GPU of one node; the largest matching node" in alone.message
    assert "set resource.count to 2, so that as many nodes hold it together" in alone.message
    tiny = {**A10, "nvidia.com/gpu.memory": "12288"}
    together = plan(nodes=(node("n1", labels=tiny), node("n2", labels=tiny)))
    assert isinstance(together, Finding)
    assert re.search(
        r"on 2 nodes of 1 GPU; the smallest of the 2 largest, \"n2\" has 1 x 12 GiB", together.message
    )
    assert "set resource.count to 4" in together.message


def test_each_pod_is_told_its_place_and_where_the_first_is() -> None:
    args = vllm(planned())["args"]
    assert args[-12:] == [
        *("--distributed-executor-backend", "mp", "--pipeline-parallel-size", "2"),
        *("--nnodes", "2", "--node-rank", "$(BERTH_NODE_RANK)"),
        *("--master-addr", FIRST, "--master-port", "29501"),
    ]
    assert args[args.index("--tensor-parallel-size") + 1] == "1"
    rank = {"fieldRef": {"fieldPath": "metadata.labels['apps.kubernetes.io/pod-index']"}}
    for container in (vllm(planned()), planned().deployment["spec"]["template"]["spec"]["containers"][0]):
        assert {"name": "BERTH_NODE_RANK", "valueFrom": rank} in container["env"]


def test_vllm_s_own_first_process_runs_within_the_group_s() -> None:
    command, alone = vllm(planned())["command"], vllm(planned(nodes=LARGE))["command"]
    assert command[5:8] == ["2", FIRST, "29400"]
    assert command[8:] == alone
    compile(command[4], "run_group.py", "exec")


def test_the_front_is_what_it_is_on_one_node_and_runs_in_the_first_pod() -> None:
    front = planned().deployment["spec"]["template"]["spec"]["containers"][0]
    alone = planned(nodes=LARGE).deployment["spec"]["template"]["spec"]["containers"][0]
    compile(front["command"][4], "run_group_front.py", "exec")
    assert front["command"][5:] == [FIRST, "5000", "45", *alone["command"]]
    assert front["args"] == alone["args"]
    command, settings = parse_command([*front["command"][-1:], *front["args"]], {})
    assert (command, settings.upstream) == ("front", "http://127.0.0.1:8000")


def test_a_pod_is_ready_when_the_first_says_that_the_model_is() -> None:
    front = planned().deployment["spec"]["template"]["spec"]["containers"][0]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert "httpGet" not in front[probe]
        code = front[probe]["exec"]["command"][-1]
        compile(code, probe, "exec")
        assert f"'{FIRST}', 5000" in code
        assert ("/livez" in code) is (probe == "livenessProbe")
        assert code.startswith("import os; os.environ['BERTH_NODE_RANK'] == '0' or") is (
            probe == "livenessProbe"
        )
    for probe in ("startupProbe", "livenessProbe"):
        code = vllm(planned())[probe]["exec"]["command"][-1]
        assert code.startswith("import os; os.environ['BERTH_NODE_RANK'] == '0' or os._exit(0); import")
        assert "127.0.0.1" in code


@pytest.mark.parametrize(
    ("rank", "answer", "passes"),
    [
        ("0", 200, {"startupProbe", "readinessProbe", "livenessProbe"}),
        ("1", 200, {"startupProbe", "readinessProbe", "livenessProbe"}),
        ("0", 503, set()),
        ("1", 503, {"livenessProbe"}),
        ("0", None, set()),
        ("1", None, {"livenessProbe"}),
    ],
)
def test_probes_ask_the_first_pod_and_the_others_live_without_it(
    rank: str, answer: int | None, passes: set[str]
) -> None:
    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(answer or 500)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    front = planned().deployment["spec"]["template"]["spec"]["containers"][0]
    passed = set()
    with HTTPServer(("127.0.0.1", 0), Health) as server:
        asked = f"'127.0.0.1', {server.server_port}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        if answer is None:
            server.shutdown()
            server.socket.close()
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            _, *options, code = front[probe]["exec"]["command"]
            ran = subprocess.run(
                [sys.executable, *options, code.replace(f"'{FIRST}', 5000", asked)],
                env={"BERTH_NODE_RANK": rank},
                stderr=subprocess.DEVNULL,
                check=False,
            )
            passed |= {probe} if ran.returncode == 0 else set()
        if answer is not None:
            server.shutdown()
    assert passed == passes


def test_the_service_leads_to_the_first_pod_and_the_peers_have_names_before_they_are_ready() -> None:
    found = planned()
    assert found.service["spec"]["selector"] == {
        "kaito.sh/workspace": "ws",
        "statefulset.kubernetes.io/pod-name": "ws-0",
    }
    assert found.peers is not None
    assert found.peers["metadata"]["name"] == found.deployment["spec"]["serviceName"] == "ws-peers"
    peers = found.peers["spec"]
    assert (peers["clusterIP"], peers["publishNotReadyAddresses"]) == ("None", True)
    labels = found.deployment["spec"]["template"]["metadata"]["labels"]
    assert peers["selector"].items() <= labels.items()
    assert found.deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    for one in (found.deployment, found.service, found.peers):
        assert one["metadata"]["labels"]["kaito.sh/workspace"] == "ws"
        (owner,) = one["metadata"]["ownerReferences"]
        assert owner["uid"] == "uid-1"
    assert planned(nodes=LARGE).peers is None
    assert planned(nodes=LARGE).service["spec"]["selector"] == {"kaito.sh/workspace": "ws"}


def test_a_rollout_that_a_group_cannot_have_is_told() -> None:
    (warning,) = planned(workspace(**{"berth.dev/rollout": "surge"})).warnings
    assert "berth.dev/rollout: surge has no effect here" in warning.message
    assert planned(workspace(**{"berth.dev/rollout": "recreate"})).warnings == ()
    assert planned(workspace(**{"berth.dev/rollout": "surge"}), nodes=LARGE).warnings == ()


def test_its_pods_are_restricted() -> None:
    assert restricted_violations(planned().deployment["spec"]["template"]["spec"]) == []


def test_planning_a_group_leaves_the_rendering_of_one_node_alone() -> None:
    before = planned(nodes=LARGE).deployment
    planned()
    assert planned(nodes=LARGE).deployment == before


# The group in the cluster.


def live(
    replicas: int = 2, *, ready: int = 0, total: int = 2, updated: int | None = None, **more: Any
) -> Any:
    wanted = planned().deployment
    status = {
        "observedGeneration": 1,
        "updateRevision": "ws-new",
        "replicas": total,
        "updatedReplicas": total if updated is None else updated,
        "readyReplicas": ready,
        "availableReplicas": ready,
    }
    meta = {**wanted["metadata"], "generation": 1, "uid": "uid-set", **more}
    return {**wanted, "metadata": meta, "spec": {**wanted["spec"], "replicas": replicas}, "status": status}


def member(index: int, *, revision: str = "ws-new", ready: bool = False, **status: Any) -> dict[str, Any]:
    owner = {"kind": "StatefulSet", "name": "ws", "uid": "uid-set", "controller": True}
    conditions = [{"type": "Ready", "status": str(ready)}, {"type": "PodScheduled", "status": "True"}]
    return {
        "metadata": {
            "name": f"ws-{index}",
            "namespace": "ns",
            "uid": f"uid-ws-{index}",
            "labels": {REVISION_HASH: revision, "kaito.sh/workspace": "ws"},
            "ownerReferences": [owner],
        },
        "spec": {"nodeName": f"n{index}", "containers": [{"name": "inference"}]},
        "status": {"conditions": conditions, **status},
    }


def leaving(pod: dict[str, Any], at: str) -> dict[str, Any]:
    return {**pod, "metadata": {**pod["metadata"], "deletionTimestamp": at}}


def single(name: str = "ws-abc-1") -> dict[str, Any]:
    owner = {"kind": "ReplicaSet", "name": "ws-abc", "uid": "u", "controller": True}
    return {
        "metadata": {"name": name, "namespace": "ns", "uid": name, "ownerReferences": [owner]},
        "spec": {"nodeName": "n1", "containers": [{"name": "inference"}]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }


BOTH = (member(0), member(1))
OLD = (member(0, revision="ws-old"), member(1, revision="ws-old"))


@pytest.mark.parametrize(
    ("there", "pods", "replicas"),
    [
        pytest.param(None, (), 2, id="there is nothing yet"),
        pytest.param(live(), BOTH, 2, id="it is as meant"),
        pytest.param(live(), BOTH[:1], 2, id="one of them is being made again"),
        pytest.param(live(3), BOTH, 2, id="somebody has scaled it"),
        pytest.param(
            live(annotations={ANNOTATION_RENDERED: "of before"}), BOTH, 0, id="it is of before an edit"
        ),
        pytest.param(live(0), OLD, 0, id="the old ones are ending"),
        pytest.param(live(0), BOTH[1:], 0, id="one of them is"),
        pytest.param(live(0, total=0), (), 2, id="the last has gone"),
        pytest.param(
            live(), (member(0), member(1, revision="ws-old")), 0, id="two templates are in one group"
        ),
        pytest.param(live(), OLD, 0, id="all are of before what was edited there"),
        pytest.param(
            live(generation=2), OLD, 2, id="which template they are of cannot be told before it has been seen"
        ),
        pytest.param(live(0, total=0), (single(),), 2, id="pods of a Deployment are none of its own"),
    ],
)
def test_a_group_is_replaced_as_a_whole_once_its_last_pod_is_gone(
    there: Any, pods: Any, replicas: int
) -> None:
    wanted = planned().deployment
    step = next_step(wanted, there, pods)
    assert step["spec"]["replicas"] == replicas
    assert {**step, "spec": {**step["spec"], "replicas": 2}} == wanted


def seen(*pods: dict[str, Any], **more: Any) -> Observed:
    given = {"stateful_set": live(), "service": SERVICE, **more}
    return Observed(pods=pods, **given)


def judged(observed: Observed) -> dict[str, Any]:
    status = report(workspace(), None, observed, {}, NOW, planned().fit).status
    return {one["type"]: one for one in status["conditions"]} | {"status": status}


def test_it_serves_when_every_pod_of_the_group_does() -> None:
    pods = (member(0, ready=True), member(1, ready=True))
    found = judged(seen(*pods, stateful_set=live(ready=2)))
    assert found["Ready"]["status"] == "True"
    assert found["status"]["workerNodes"] == ["n0", "n1"]
    assert found["status"]["targetNodeCount"] == 2
    assert (
        "2 of 2 pods have a node, and hold one copy of the model together"
        in found["ResourceReady"]["message"]
    )
    assert "on 2 nodes of 1 GPU" in found["ResourceReady"]["message"]


@pytest.mark.parametrize(
    ("observed", "reason", "words"),
    [
        pytest.param(
            seen(member(0, ready=True), member(1)),
            Reason.STARTING,
            "",
            id="the count is late, and one is not ready",
        ),
        pytest.param(
            seen(member(0, ready=True), member(1, ready=True, revision="ws-old"), stateful_set=live(ready=2)),
            Reason.DEPLOYING,
            "1 of 2",
            id="one is of an earlier template",
        ),
        pytest.param(
            seen(
                member(
                    0, containerStatuses=[crashed(1, '{"reason": "peer_lost", "message": "node 1 is gone"}')]
                ),
                member(1, containerStatuses=[crashed(137, reason="OOMKilled")]),
            ),
            Reason.OUT_OF_MEMORY,
            'pod "ws-1"',
            id="the one that took the others with it is named",
        ),
        pytest.param(
            seen(*OLD, stateful_set=live(0)),
            Reason.ROLLING_OUT,
            "2 of the earlier template have yet to end",
            id="the group is being replaced",
        ),
        pytest.param(
            seen(leaving(OLD[1], "2026-01-01T00:00:00Z"), stateful_set=live(0), nodes=(node("n1"),)),
            Reason.POD_STUCK,
            'pod "ws-1" should have gone at 2026-01-01T00:00:00Z',
            id="one of the old ones does not end",
        ),
        pytest.param(
            seen(leaving(OLD[1], NOW), stateful_set=live(0), nodes=(node("n1"),)),
            Reason.ROLLING_OUT,
            "1 of the earlier template has yet to end",
            id="the last of the old ones is ending",
        ),
        pytest.param(
            seen(
                single(), stateful_set=None, deployment={"metadata": {"name": "ws"}, "spec": {"replicas": 0}}
            ),
            Reason.ROLLING_OUT,
            "from one node to several, or back: 1 pod has yet to end",
            id="a Deployment's pods are ending first",
        ),
        pytest.param(
            seen(member(0, ready=True), member(1, ready=True), stateful_set=live(1, ready=2)),
            Reason.DEPLOYING,
            'StatefulSet "ws" was scaled down to 1 of 2 pods, which hold the model together',
            id="somebody has scaled it down",
        ),
        pytest.param(
            seen(
                stateful_set=live(total=0),
                events={
                    "uid-set": (
                        event(
                            "FailedCreate",
                            'Create Pod ws-0 in StatefulSet ws failed error: pods "ws-0" is forbidden: '
                            "exceeded quota: gpus, requested: requests.nvidia.com/gpu=1",
                        ),
                    )
                },
            ),
            Reason.QUOTA_EXCEEDED,
            'StatefulSet "ws" cannot create pods: ResourceQuota "gpus" is used up (exceeded quota',
            id="a quota refuses its pods",
        ),
    ],
)
def test_what_keeps_a_group_from_serving_is_told(observed: Observed, reason: Reason, words: str) -> None:
    first = findings(observed, NOW)[0]
    assert first.reason is reason
    assert words in first.message
    assert judged(observed)["Ready"]["status"] == "False"


@example(  # scaled down by hand
    replicas=1, numbers=(1, 1, 1), generation=1, pods=[(True, True, False), (True, False, False)], singles=0
)
@given(
    replicas=st.integers(0, 3),
    numbers=st.tuples(*[st.integers(0, 3)] * 3),
    generation=st.integers(1, 2),
    pods=st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), max_size=3),
    singles=st.integers(0, 2),
)
def test_whatever_is_counted_it_serves_only_if_every_pod_of_the_present_template_does(
    replicas: int,
    numbers: tuple[int, ...],
    generation: int,
    pods: list[tuple[bool, bool, bool]],
    singles: int,
) -> None:
    total, updated, ready = numbers
    members = [
        member(index, revision="ws-new" if is_new else "ws-old", ready=is_ready)
        for index, (is_new, is_ready, _) in enumerate(pods)
    ]
    for one, (_, _, is_going) in zip(members, pods, strict=True):
        if is_going:
            one["metadata"]["deletionTimestamp"] = NOW
    set_ = live(replicas, ready=ready, total=total, updated=updated, generation=generation)
    found = judged(
        seen(*members, *(single(f"ws-abc-{index}") for index in range(singles)), stateful_set=set_)
    )
    serving = [one for one in pods if one == (True, True, False)]
    if found["Ready"]["status"] == "True":
        assert generation == 1
        assert len(serving) >= 2
        assert min(replicas, total, updated, ready) >= 2


def test_the_events_of_a_statefulset_are_asked_for_while_it_has_too_few_pods() -> None:
    assert lacks_pods(seen(stateful_set=live(total=1)))
    assert not lacks_pods(seen(*BOTH))
    assert not lacks_pods(seen(stateful_set=live(total=1, generation=2)))


def test_the_tree_has_the_statefulset_its_pods_and_their_nodes() -> None:
    failing = seen(member(0), member(1, containerStatuses=[crashed(137, reason="OOMKilled")]))
    tree = explain({"metadata": {"name": "ws"}}, failing, NOW).tree
    (group,) = tree.children
    assert (group.kind, group.name, group.state) == ("StatefulSet", "ws", "0 of 2 pods available")
    assert [(pod.name, pod.is_cause) for pod in group.children] == [("ws-0", False), ("ws-1", True)]
    assert [below.name for pod in group.children for below in pod.children] == ["n0", "n1"]


def test_a_deployment_that_a_group_took_over_from_is_not_what_makes_the_pods() -> None:
    aside = {"metadata": {"name": "ws"}, "spec": {"replicas": 0}}
    assert seen(deployment=aside).controller == live()
    back = planned(nodes=LARGE).deployment
    gone = {**live(0), "metadata": {**live()["metadata"], "annotations": {}}}
    assert seen(deployment=back, stateful_set=gone).controller == back
    assert Observed(deployment=aside).controller is None
