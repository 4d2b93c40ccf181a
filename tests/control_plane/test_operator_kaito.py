"""Manifests written for KAITO apply unchanged through kubectl and yield what its documents describe."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from berth_operator.api.names import LABEL_INSTANCE_TYPE
from berth_operator.kube import Object
from control_plane.cluster import Cluster
from control_plane.fake_nodes import FakeNodes
from control_plane.planes import ControlPlane

MANIFESTS = sorted((Path(__file__).resolve().parents[1] / "data" / "kaito").glob("*.yaml"))

pytestmark = pytest.mark.usefixtures("operator")


@pytest.fixture
def kubectl(control_plane: ControlPlane, cluster: Cluster) -> list[str]:
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("needs kubectl on the path")
    return [program, "--kubeconfig", str(control_plane.kubeconfig), "-n", cluster.namespace]


def read(manifest: Path) -> Object:
    text: Object = yaml.safe_load(manifest.read_text())
    return text


async def run(*command: str) -> str:
    """Run a command; return what it says, and fail with it where the command fails."""
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


def test_there_are_manifests_of_both_versions() -> None:
    versions = {read(path)["apiVersion"] for path in MANIFESTS}
    assert versions == {"kaito.sh/v1alpha1", "kaito.sh/v1beta1"}


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.stem)
async def test_a_published_manifest_applies_unchanged_and_serves(
    cluster: Cluster, nodes: FakeNodes, kubectl: list[str], manifest: Path
) -> None:
    text = read(manifest)
    name, preset = text["metadata"]["name"], text["inference"]["preset"]["name"]
    said = await run(*kubectl, "apply", "-f", str(manifest))
    assert "created" in said
    assert "unknown field" not in said
    deployment, service = await cluster.deployed(name), await cluster.exposed(name)

    pod = deployment["spec"]["template"]["spec"]
    (server,) = pod["containers"]
    # By the name of a preset of Berth's, or by the model's name on the hub.
    assert preset in server["args"]
    assert server["resources"]["requests"]["nvidia.com/gpu"] == "1"
    required = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    expressions = required["nodeSelectorTerms"][0]["matchExpressions"]
    wanted = {
        LABEL_INSTANCE_TYPE: text["resource"]["instanceType"],
        **text["resource"]["labelSelector"]["matchLabels"],
    }
    assert {item["key"]: item["values"][0] for item in expressions} == wanted
    assert [(port["port"], port["targetPort"]) for port in service["spec"]["ports"]] == [(80, 5000)]

    await nodes.serve(name)
    await cluster.reported(name, "Serving")
    heading, row = (await run(*kubectl, "get", "workspace", name)).splitlines()
    columns = dict(zip(heading.split(), row.split(), strict=True))
    assert columns.pop("AGE")
    assert columns == {
        "NAME": name,
        "INSTANCE": text["resource"]["instanceType"],
        "RESOURCEREADY": "True",
        "INFERENCEREADY": "True",
        "WORKSPACESUCCEEDED": "True",
        "TARGETNODECOUNT": "1",
        "STATE": "Ready",
    }
    assert "unchanged" in await run(*kubectl, "apply", "-f", str(manifest))
    await run(*kubectl, "delete", "-f", str(manifest))
