"""`kubectl berth ...`: the program that is installed, found and started by kubectl itself."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from berth_local.apiserver import ApiServer, LogOptions
from berth_operator.cluster_cache import PODS, WORKSPACES
from berth_operator.kube import KubeClient
from control_plane import kubectl_objects

KUBECTL = shutil.which("kubectl")
SCRIPTS = Path(sys.executable).parent
PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
pytestmark = [
    pytest.mark.skipif(KUBECTL is None, reason="kubectl is not on PATH"),
    pytest.mark.skipif(
        not (SCRIPTS / "kubectl-berth").exists(), reason="Berth is not installed: make install"
    ),
]

Run = Callable[..., Awaitable[tuple[int, str, str]]]


async def _logs(pod: dict[str, Any], options: LogOptions) -> AsyncIterator[bytes]:
    if options.previous:
        raise LookupError("previous terminated container not found")
    yield f"{options.container} says hello\n".encode()
    yield b"and goodbye\n"


@pytest.fixture
async def kubectl(tmp_path: Path) -> AsyncIterator[Run]:
    """kubectl with a Workspace `phi` of three pods, of which the first waits for a node."""

    async def run(*arguments: str) -> tuple[int, str, str]:
        environment = {
            "KUBECONFIG": str(tmp_path / "kubeconfig"),
            "HOME": str(tmp_path),
            "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}",
        }
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            str(KUBECTL), *arguments, stdout=pipe, stderr=pipe, env=environment
        )
        said, errors = await process.communicate()
        return process.returncode or 0, said.decode(), errors.decode()

    async with ApiServer(crds=[kubectl_objects.WORKSPACES], pod_logs=_logs) as server:
        kubeconfig = server.write_kubeconfig(tmp_path / "kubeconfig")
        async with await KubeClient.connect(str(kubeconfig)) as client:
            await client.create(WORKSPACES, _in_default(kubectl_objects.WORKSPACE))
            status = {"conditions": [{"type": "Ready", "status": "False", "reason": "NoFreeGPU"}]}
            await client.merge(WORKSPACES, "default", "phi", {"status": status}, "status")
            for name, node in (("phi-1", ""), ("phi-2", "n"), ("phi-3", "n")):
                await client.create(PODS, _pod(name, node))
        yield run


def _in_default(obj: dict[str, Any]) -> dict[str, Any]:
    return {**obj, "metadata": {**obj["metadata"], "namespace": "default"}}


def _pod(name: str, node: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default", "labels": {"kaito.sh/workspace": "phi"}}
    spec = {"containers": [{"name": "inference", "image": "i:1"}], **({"nodeName": node} if node else {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


async def test_kubectl_knows_the_plugin_and_hands_its_commands_on(kubectl: Run) -> None:
    assert str(SCRIPTS / "kubectl-berth") in (await kubectl("plugin", "list"))[1]
    code, said, _ = await kubectl("berth", "presets", "tiny-chat")
    assert (code, said.splitlines()[0].partition(":")[0]) == (0, "tiny-chat")
    code, _, errors = await kubectl("berth", "presets", "tiny-cat")
    assert (code, errors) == (
        1,
        'kubectl berth presets: there is no preset "tiny-cat"; did you mean tiny-chat?\n',
    )


async def test_logs_are_of_every_pod_that_has_one_and_say_of_which(kubectl: Run) -> None:
    code, said, errors = await kubectl("berth", "logs", "phi")
    assert code == 0
    assert said.splitlines() == [
        "phi-2: inference says hello",
        "phi-2: and goodbye",
        "phi-3: inference says hello",
        "phi-3: and goodbye",
    ]
    assert errors == 'pod "phi-1": pod phi-1 does not have a host assigned (400 BadRequest)\n'


async def test_a_log_that_no_pod_has_is_one_line(kubectl: Run) -> None:
    code, said, errors = await kubectl("berth", "logs", "phi", "--previous")
    assert (code, said) == (1, "")
    assert errors == (
        'kubectl berth logs: pod "phi-1": pod phi-1 does not have a host assigned (400 BadRequest) '
        "(and 2 more pods without a log)\n"
    )


async def test_explain_draws_what_it_reads_and_needs_no_operator(kubectl: Run) -> None:
    code, said, _ = await kubectl("berth", "explain", "phi")
    assert code == 1
    assert said.startswith("Workspace phi  not looked at yet\n")
    assert "no operator has looked at this Workspace" in said
    assert "\x1b" not in said, "a pipe gets no colours"


async def test_the_commands_that_the_operations_page_begins_with_are_answered(kubectl: Run) -> None:
    blocks = re.findall(r"^```\n(.+?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines() if line.startswith("kubectl get ")]
    assert len(commands) == 2
    for command in commands:
        code, said, errors = await kubectl(*shlex.split(command, comments=True)[1:])
        assert (code, errors) == (0, "")
        assert "phi" in said
    assert said.split() == ["NAMESPACE", "NAME", "REASON", "default", "phi", "NoFreeGPU"]
