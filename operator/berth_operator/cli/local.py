"""`berth local`: the embedded control plane and the operator, until Ctrl-C."""

import argparse
import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

from berth_operator.cli.embedded import control_plane, require, run_until_signal
from berth_operator.cli.errors import CliError
from berth_operator.kube import KubeError

if TYPE_CHECKING:
    from berth_local.control_plane import ControlPlane


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `berth local`."""
    parser = subparsers.add_parser(
        "local",
        help="run a control plane, a node and the operator on this machine",
        description="Run an embedded control plane, a node agent and the operator, on loopback, until Ctrl-C. "
        "The first line of output is the path of a kubeconfig.",
    )
    parser.add_argument(
        "--state", type=Path, metavar="DIR", help="keep everything in DIR (default: nothing is kept)"
    )
    parser.add_argument(
        "--port", type=_port, default=0, metavar="N", help="the API server's port (default: a free one)"
    )
    parser.add_argument(
        "--apply",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="apply a manifest once up; repeatable",
    )
    parser.add_argument(
        "--node-label",
        type=_label,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a label for the node, for Workspaces whose resource.labelSelector asks for it; repeatable",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run until Ctrl-C and return 0, or raise CliError when it cannot start."""
    return run_until_signal(lambda stop: _serve(arguments, stop))


async def _serve(arguments: argparse.Namespace, stop: asyncio.Event) -> int:
    require("aiohttp")
    from berth_local.manifests import ManifestError, apply, read_manifests

    try:
        # Read before anything is started: a wrong path is told at once.
        objects = [one for path in arguments.apply for one in read_manifests(path)]
    except ManifestError as error:
        raise CliError(str(error)) from None
    async with control_plane(arguments.state, arguments.port, dict(arguments.node_label)) as plane:
        print(plane.kubeconfig, flush=True)
        try:
            async with plane.client() as client:
                applied = await apply(client, objects)
        except (ManifestError, KubeError) as error:
            raise CliError(f"apply: {error}") from None
        print(
            _introduction(plane, [f"{one['kind'].lower()}/{one['metadata']['name']}" for one in applied]),
            flush=True,
        )
        await stop.wait()
        print("Stopping.", flush=True)
    return 0


def _introduction(plane: "ControlPlane", applied: list[str]) -> str:
    lines = [
        "",
        f"API server  {plane.url}",
        f"Node        berth-local: {os.cpu_count()} CPUs, no GPU; pods run as processes of this machine",
        f"Operator    log in {plane.operator_log}",
    ]
    lines += [f"Applied     {name}" for name in applied]
    lines += [
        "",
        "In another terminal:",
        f"  export KUBECONFIG={plane.kubeconfig}",
        "  kubectl apply -f examples/workspace-tiny-chat.yaml",
        "  kubectl get workspace -o wide",
        '  curl -X POST "<ENDPOINT>/chat" -H "Content-Type: application/json" -d \'{"prompt": "What is Kubernetes?"}\'',
        "",
        "Ctrl-C stops everything"
        + (" and removes its files." if plane.temporary else f"; {plane.folder} is kept."),
    ]
    return "\n".join(lines)


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: 1 to 65535, or 0 for a free one")
    return int(text)


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not a label: KEY=VALUE")
    return key, value
