"""kubectl against the embedded API server: the verbs that people use."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from berth_local.apiserver import ApiServer, LogOptions
from control_plane.kubectl_objects import DEPLOYMENT, POD, SERVICE, WORKSPACE, WORKSPACES

KUBECTL = shutil.which("kubectl")
pytestmark = [
    pytest.mark.skipif(KUBECTL is None, reason="kubectl is not on PATH"),
    pytest.mark.timeout(180),
]


async def _logs(pod: dict[str, Any], options: LogOptions) -> AsyncIterator[bytes]:
    yield f"{pod['metadata']['name']}/{options.container} says hello\n".encode()


@dataclass
class Kubectl:
    """kubectl with a configuration and a cache of its own."""

    folder: Path

    async def __call__(self, *arguments: str, given: Any = None, fails: bool = False) -> str:
        """Run kubectl with objects on its input; returns all that it printed. Its failure must be expected."""
        text = "".join(f"---\n{json.dumps(one)}\n" for one in given or ()).encode()
        process = await self.start(*arguments)
        printed, _ = await process.communicate(text)
        assert (process.returncode != 0) is fails, printed.decode()
        return printed.decode()

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        pipe, both = asyncio.subprocess.PIPE, asyncio.subprocess.STDOUT
        environment = {
            "KUBECONFIG": str(self.folder / "kubeconfig"),
            "HOME": str(self.folder),
            "PATH": "/usr/bin:/bin",
        }
        return await asyncio.create_subprocess_exec(
            str(KUBECTL), *arguments, stdin=pipe, stdout=pipe, stderr=both, env=environment
        )


@pytest.fixture
async def kubectl(tmp_path: Path) -> AsyncIterator[Kubectl]:
    async with ApiServer(crds=[WORKSPACES], pod_logs=_logs) as server:
        server.write_kubeconfig(tmp_path / "kubeconfig")
        yield Kubectl(tmp_path)


def columns(printed: str) -> list[list[str]]:
    return [line.split() for line in printed.splitlines() if line.strip()]


async def test_apply_creates_then_changes_nothing_then_merges(kubectl: Kubectl) -> None:
    everything = [WORKSPACE, DEPLOYMENT, SERVICE]
    printed = await kubectl("apply", "-f", "-", given=everything)
    assert printed.splitlines() == [
        "workspace.kaito.sh/phi created",
        "deployment.apps/web created",
        "service/web created",
    ]
    assert "unchanged" in await kubectl("apply", "-f", "-", given=everything)
    changed = json.loads(json.dumps(DEPLOYMENT))
    changed["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "B", "value": "2"}]
    assert "configured" in await kubectl("apply", "-f", "-", given=[changed])
    env = await kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.template.spec.containers[0].env}")
    assert json.loads(env) == [{"name": "B", "value": "2"}]
    larger = {**WORKSPACE, "resource": {"count": 2}}
    assert "configured" in await kubectl("apply", "-f", "-", given=[larger])
    resource = await kubectl("get", "wk", "phi", "-o", "jsonpath={.resource}")
    assert json.loads(resource) == {"count": 2}


async def test_apply_names_an_unknown_field_and_a_bad_value(kubectl: Kubectl) -> None:
    unknown = await kubectl("apply", "-f", "-", given=[{**WORKSPACE, "inferense": {}}], fails=True)
    assert 'strict decoding error: unknown field "inferense"' in unknown
    bad = await kubectl("apply", "-f", "-", given=[{**WORKSPACE, "resource": {"count": -1}}], fails=True)
    assert 'The Workspace "phi" is invalid: resource.count: Invalid value: -1' in bad
    wrong = {**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], "replica": 3}}
    assert 'unknown field "spec.replica"' in await kubectl("apply", "-f", "-", given=[wrong], fails=True)


async def test_server_side_apply_takes_over_from_client_side_apply(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", given=[WORKSPACE])
    assert "serverside-applied" in await kubectl("apply", "--server-side", "-f", "-", given=[WORKSPACE])
    other = {**WORKSPACE, "resource": {"instanceType": "other"}}
    refused = await kubectl(
        "apply", "--server-side", "--field-manager=me", "-f", "-", given=[other], fails=True
    )
    assert "conflict" in refused
    assert ".resource.instanceType" in refused
    await kubectl(
        "apply", "--server-side", "--field-manager=me", "--force-conflicts", "-f", "-", given=[other]
    )


async def test_get_shows_the_columns_of_each_kind(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", given=[WORKSPACE, DEPLOYMENT, SERVICE, POD])
    patch = '{"status":{"endpoint":"http://x","conditions":[{"type":"InferenceReady","status":"True"}]}}'
    await kubectl("patch", "wk", "phi", "--subresource=status", "--type=merge", "-p", patch)
    head, row = columns(await kubectl("get", "workspace", "-o", "wide"))
    assert head == ["NAME", "INSTANCE", "INFERENCEREADY", "AGE", "ENDPOINT"]
    assert row[:3] + row[4:] == ["phi", "Standard_NC24ads_A100_v4", "True", "http://x"]
    printed = await kubectl("get", "deploy,svc,pods,events")
    for expected in ("deployment.apps/web 0/2 0 0", "service/web ClusterIP 127.96.0.", "pod/p 0/1 Pending 0"):
        assert any(" ".join(line).startswith(expected) for line in columns(printed)), printed
    assert "web" in await kubectl("get", "all", "-A")
    assert json.loads(await kubectl("get", "wk", "phi", "-o", "json"))["apiVersion"] == "kaito.sh/v1beta1"
    assert columns(await kubectl("get", "ns"))[1][:2] == ["default", "Active"]


async def test_wait_sees_a_condition_come(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", given=[WORKSPACE])
    waiting = asyncio.create_task(
        kubectl("wait", "--for=condition=InferenceReady", "wk/phi", "--timeout=60s")
    )
    patch = '{"status":{"conditions":[{"type":"InferenceReady","status":"True"}]}}'
    await kubectl("patch", "wk", "phi", "--subresource=status", "--type=merge", "-p", patch)
    assert "workspace.kaito.sh/phi condition met" in await waiting


async def test_get_watch_prints_what_happens(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", given=[WORKSPACE])
    watching = await kubectl.start("get", "wk", "-w", "--output-watch-events")
    assert watching.stdout is not None
    try:
        async with asyncio.timeout(60):
            assert (await watching.stdout.readline()).split()[0] == b"EVENT"
            assert (await watching.stdout.readline()).split()[:2] == [b"ADDED", b"phi"]
            await kubectl("patch", "wk", "phi", "--type=merge", "-p", '{"resource":{"instanceType":"m"}}')
            assert (await watching.stdout.readline()).split()[:3] == [b"MODIFIED", b"phi", b"m"]
    finally:
        watching.terminate()
        await watching.communicate()


async def test_label_annotate_scale_patch_and_describe(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", given=[WORKSPACE, DEPLOYMENT])
    assert "labeled" in await kubectl("label", "wk", "phi", "team=a")
    assert "annotated" in await kubectl("annotate", "wk", "phi", "note=b")
    assert columns(await kubectl("get", "wk", "-l", "team in (a,b)"))[1][0] == "phi"
    assert "scaled" in await kubectl("scale", "deploy", "web", "--replicas=3")
    assert await kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}") == "3"
    await kubectl(
        "patch",
        "deploy",
        "web",
        "-p",
        '{"spec":{"template":{"spec":{"containers":[{"name":"d","image":"j"}]}}}}',
    )
    names = await kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.template.spec.containers[*].name}")
    assert sorted(names.split()) == ["c", "d"]
    described = await kubectl("describe", "wk", "phi")
    assert "Standard_NC24ads_A100_v4" in described
    assert "team=a" in described
    assert "3 desired" in await kubectl("describe", "deploy", "web")


async def test_events_are_described_with_their_object(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", given=[WORKSPACE])
    uid = await kubectl("get", "wk", "phi", "-o", "jsonpath={.metadata.uid}")
    about = {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "name": "phi",
        "namespace": "default",
        "uid": uid,
    }
    event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "phi.1"}, "involvedObject": about}
    event |= {
        "type": "Warning",
        "reason": "OutOfMemory",
        "message": "ask for more",
        "source": {"component": "berth"},
    }
    await kubectl("create", "-f", "-", given=[event])
    described = await kubectl("describe", "wk", "phi")
    assert "OutOfMemory" in described
    assert "ask for more" in described
    assert "workspace/phi" in await kubectl("get", "events")


async def test_logs_come_from_the_node_agent(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", given=[POD])
    assert await kubectl("logs", "p") == "p/c says hello\n"
    assert await kubectl("logs", "p", "-f", "--tail=1") == "p/c says hello\n"


async def test_delete_waits_until_it_is_gone(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", given=[WORKSPACE, DEPLOYMENT, SERVICE])
    assert 'workspace.kaito.sh "phi" deleted' in await kubectl("delete", "wk", "phi")
    assert "NotFound" in await kubectl("get", "wk", "phi", fails=True)
    assert "deleted" in await kubectl("delete", "deploy/web", "svc/web", "--cascade=foreground")
    await kubectl("create", "namespace", "n")
    assert 'namespace "n" deleted' in await kubectl("delete", "ns", "n", "--timeout=60s")


async def test_explain_edit_diff_and_api_resources(kubectl: Kubectl, tmp_path: Path) -> None:
    await kubectl("apply", "-f", "-", given=[WORKSPACE])
    assert "How many." in await kubectl("explain", "workspace.resource.count")
    assert "RollingUpdate" in await kubectl("explain", "deployment.spec.strategy")
    assert "wk,wks" in await kubectl("api-resources", "--api-group=kaito.sh")
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i s/Standard_NC24ads_A100_v4/edited/ "$1"\n')
    editor.chmod(0o700)
    process = await asyncio.create_subprocess_exec(
        str(KUBECTL),
        "edit",
        "wk",
        "phi",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={
            "KUBECONFIG": str(tmp_path / "kubeconfig"),
            "HOME": str(tmp_path),
            "PATH": "/usr/bin:/bin",
            "KUBE_EDITOR": str(editor),
        },
    )
    printed, _ = await process.communicate()
    assert b"edited" in printed
    assert await kubectl("get", "wk", "phi", "-o", "jsonpath={.resource.instanceType}") == "edited"
    assert "+  instanceType" in await kubectl("diff", "-f", "-", given=[WORKSPACE], fails=True)


async def test_create_makes_what_a_user_keeps_beside_a_workspace(kubectl: Kubectl) -> None:
    await kubectl("create", "secret", "generic", "hub", "--from-literal=HF_TOKEN=hf_x")
    assert await kubectl("get", "secret", "hub", "-o", "jsonpath={.data}") == '{"HF_TOKEN":"aGZfeA=="}'
    await kubectl("create", "configmap", "adapters", "--from-literal=a=b")
    await kubectl("create", "serviceaccount", "someone")
    assert columns(await kubectl("get", "cm", "adapters"))[1][:2] == ["adapters", "1"]
    refused = await kubectl("create", "deployment", "d", "--image=i", fails=True)
    assert "--dry-run=client -o yaml" in refused
    assert await kubectl("auth", "can-i", "create", "workspaces") == "yes\n"
