"""What cannot be carried out is said in a condition, with what to do about it, and is not tried again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from berth_operator.cluster_cache import WORKSPACES
from berth_operator.kube import KubeError, Object, Refused
from control_plane.cluster import Cluster, condition, eventually, workspace
from control_plane.fake_nodes import FakeNodes
from control_plane.operator_process import OperatorProcess, operator_process
from control_plane.planes import ControlPlane

pytestmark = pytest.mark.usefixtures("operator")

PRESET = {"name": "phi-3-mini-4k-instruct"}
CONTAINER = {"name": "server", "image": "example.com/server:1"}


@pytest.fixture(scope="module")
def operator(
    control_plane: ControlPlane, namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    workdir = tmp_path_factory.mktemp("operator")
    with operator_process(control_plane.kubeconfig, workdir, namespace, BERTH_RESYNC_SECONDS="1") as running:
        yield running


def template(**container: Any) -> Object:
    return {"template": {"spec": {"containers": [{**CONTAINER, **container}]}}}


FAULTS = [
    pytest.param(
        {"preset": {"name": "phi-3-mini-4k-instrukt"}},
        "UnknownPreset",
        ("did you mean phi-3-mini-4k-instruct?", "delete the Workspace"),
        id="a misspelt preset",
    ),
    pytest.param(
        {"preset": {"name": "llama-3-8b-instruct"}},
        "AccessSecretRequired",
        ("is gated", "modelAccessSecret"),
        id="a gated model without a token",
    ),
    pytest.param(
        {"preset": PRESET, "adapters": [{"source": {"name": "a", "volumeSource": {}}}]},
        "InvalidWorkspace",
        ("inference.adapters[0].source.volumeSource", "persistentVolumeClaim"),
        id="an adapter from a volume of no kind",
    ),
    pytest.param(
        {"template": {"spec": {"containers": []}}},
        "InvalidWorkspace",
        ("inference.template.spec.containers", "add one"),
        id="a template without containers",
    ),
    pytest.param(
        {"template": {"spec": {"containers": [CONTAINER], "tolerations": "all"}}},
        "InvalidWorkspace",
        ("inference.template.spec.tolerations", "write it as"),
        id="a template of the wrong shape",
    ),
    pytest.param(
        template(imagePullPolicies="Always"),
        "RefusedByCluster",
        ("imagePullPolicies", "change"),
        id="a template with a field that pods have not",
    ),
    pytest.param(
        template(ports=[{"containerPort": 99999}]),
        "RefusedByCluster",
        ("containerPort", "change"),
        id="a template with a value that the API server refuses",
    ),
    pytest.param(
        template(readinessProbe={"httpGet": {"path": "/", "port": {}}}),
        "RefusedByCluster",
        ("json", "change"),
        id="a template with a value that its type cannot hold",
    ),
]


@pytest.mark.parametrize(("inference", "reason", "told"), FAULTS)
async def test_a_fault_is_told_with_its_remedy(
    cluster: Cluster, name: str, inference: dict[str, Any], reason: str, told: tuple[str, ...]
) -> None:
    await cluster.create_workspace(name, **inference)
    message = condition(await cluster.reported(name, reason))["message"]
    assert all(words in message for words in told), message


async def test_no_fault_is_tried_again_and_again(
    operator: OperatorProcess, cluster: Cluster, name: str
) -> None:
    faults = {f"{name}-{number}": case.values for number, case in enumerate(FAULTS)}
    for one, (inference, *_) in faults.items():
        await cluster.create_workspace(one, **cast(dict[str, Any], inference))
    for one, (_, reason, _) in faults.items():
        await cluster.reported(one, str(reason))
    await operator.looked_again()
    since = len(operator.proxy.requests)
    await operator.looked_again()
    for one, (_, reason, _) in faults.items():
        # A resync a second looks at everything: what the cluster refused is tried anew then, and no oftener.
        often = 1 if reason != "RefusedByCluster" else 4
        assert len(operator.proxy.about(one, since)) <= 3 * often, reason
        assert [line for line in operator.proxy.writes() if line.endswith(f"/{one}/status -> 200")] == [
            f"PATCH /apis/kaito.sh/v1beta1/namespaces/{cluster.namespace}/workspaces/{one}/status -> 200"
        ]
        events = [item for item in await cluster.events(one) if item["type"] == "Warning"]
        assert [item["reason"] for item in events] == [reason]


BOTH = {"preset": PRESET, "template": {"spec": {"containers": [CONTAINER]}}}
TUNING = {"method": "qlora", "preset": {"name": "phi-3-mini-4k-instruct"}}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param(
            lambda w: w.update(inference=BOTH), ("preset", "template"), id="both preset and template"
        ),
        pytest.param(lambda w: w.update(tuning=TUNING), ("tuning", "remove"), id="tuning"),
        pytest.param(lambda w: w["metadata"].update(name="a" * 64), ("63",), id="a name that is too long"),
        pytest.param(lambda w: w["inference"].update(presett={}), ("presett",), id="a misspelt field"),
        pytest.param(lambda w: w["resource"].update(count="two"), ("count",), id="a count that is text"),
        pytest.param(
            lambda w: w["inference"]["preset"].update(accessMode="private"),
            ("image",),
            id="private without image",
        ),
    ],
)
async def test_what_the_definition_forbids_is_refused_at_once_or_told(
    operator: OperatorProcess,
    cluster: Cluster,
    name: str,
    change: Callable[[Object], object],
    told: tuple[str, ...],
) -> None:
    """The embedded API server does not evaluate CEL: what it lets through, the operator refuses in the same words."""
    body = workspace(cluster.namespace, name)
    change(body)
    try:
        live = await cluster.send_strictly(WORKSPACES, body)
    except Refused as refused:
        message = str(refused)
    else:
        message = condition(await cluster.reported(live["metadata"]["name"], "InvalidWorkspace"))["message"]
        assert await cluster.deployment(live["metadata"]["name"]) is None
    assert all(words in message for words in told), message


async def test_a_fault_that_is_mended_is_forgotten(cluster: Cluster, nodes: FakeNodes, name: str) -> None:
    await cluster.create_workspace(name, **template(imagePullPolicies="Always"))
    await cluster.reported(name, "RefusedByCluster")
    await cluster.changed(WORKSPACES, name, lambda live: live.update(inference=template()))
    await cluster.exposed(name)
    await nodes.serve(name)
    await cluster.reported(name, "Serving")


async def test_what_served_goes_on_serving_while_the_workspace_is_wrong(
    cluster: Cluster, nodes: FakeNodes, name: str
) -> None:
    await cluster.create_workspace(name, **template())
    await nodes.serve(name)
    await cluster.reported(name, "Serving")
    before = await cluster.deployed(name)
    await cluster.changed(
        WORKSPACES, name, lambda live: live.update(inference=template(imagePullPolicies="x"))
    )
    wrong = await cluster.reported(name, "RefusedByCluster")
    assert condition(wrong)["status"] == "False"
    after = await cluster.deployed(name)
    assert after["metadata"]["generation"] == before["metadata"]["generation"]


async def test_a_status_that_somebody_wrote_is_written_anew(
    cluster: Cluster, nodes: FakeNodes, name: str
) -> None:
    await cluster.create_workspace(name)
    await nodes.serve(name)
    truth = (await cluster.reported(name, "Serving"))["status"]
    await cluster.edit(
        WORKSPACES, name, {"status": {"state": "Pending", "endpoint": "http://evil.example"}}, "status"
    )

    async def status() -> Object:
        live = await cluster.workspace(name)
        assert live is not None
        found: Object = live["status"]
        return found

    await eventually(status, lambda seen: seen == truth, "the status as it was")


async def test_an_unreadable_status_is_refused_by_the_api_server(cluster: Cluster, name: str) -> None:
    await cluster.create_workspace(name)
    with pytest.raises(KubeError, match="status"):
        await cluster.edit(WORKSPACES, name, {"status": {"conditions": [{"type": 3}]}}, "status")
