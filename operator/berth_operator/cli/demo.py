"""`berth demo`: the whole of Berth once, from a Workspace applied to a question answered, leaving nothing behind."""

import argparse
import asyncio
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from berth_operator.api.names import API_VERSION, PLURAL
from berth_operator.cli.embedded import control_plane, require, run_until_signal
from berth_operator.cli.errors import CliError
from berth_operator.kube import KubeError, Resource

if TYPE_CHECKING:
    from berth_local.agent.client import ApiClient

EXAMPLE = "workspace-tiny-chat.yaml"
QUESTION = "What is Kubernetes?"
WORKSPACES = Resource(API_VERSION, PLURAL)

POLL_SECONDS = 0.25
ANSWER_SECONDS = 60.0
"""For one short answer of a small model: it takes a second or two even on a busy machine."""

DEFAULT_SECONDS = 300.0
"""Loading torch for the first time on a slow disk takes minutes; a model that is not up by then will not be."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `berth demo`."""
    parser = subparsers.add_parser(
        "demo",
        help="apply a Workspace on an embedded control plane and ask its model a question",
        description=f"Start `berth local`, apply {EXAMPLE}, wait until its model serves, ask it a question and stop.",
    )
    parser.add_argument(
        "--question", default=QUESTION, metavar="TEXT", help="what to ask (default: %(default)s)"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=DEFAULT_SECONDS,
        metavar="SECONDS",
        help="how long the model may take to serve (default: %(default)g)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo and return 0, or raise CliError when the model did not answer."""
    return run_until_signal(lambda stop: _demo(arguments, stop))


async def _demo(arguments: argparse.Namespace, stop: asyncio.Event) -> int:
    require("aiohttp")
    from berth_local.manifests import apply, read_manifests
    from berth_local.tables import table

    manifest = example()
    objects = read_manifests(manifest)
    print("Starting an embedded control plane, a node and the operator ...", flush=True)
    async with control_plane() as plane, plane.client() as client:
        print(f"$ kubectl apply -f {manifest}", flush=True)
        (stored,) = await apply(client, objects)
        name = stored["metadata"]["name"]
        print(f"workspace.kaito.sh/{name} created\n", flush=True)
        work = asyncio.create_task(_ready(client, name, arguments.timeout))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not work.done():
            work.cancel()
            return 130
        workspace = work.result()
        if workspace is None:
            from berth_local.report import failure_report

            print(await failure_report(client, plane, name), file=sys.stderr)
            raise CliError(
                f"Workspace {name} was not ready within {arguments.timeout:g} s; the causes are above"
            )
        endpoint = workspace["status"]["endpoint"]
        print("\n$ kubectl get workspace -o wide", flush=True)
        print(await table(client, WORKSPACES.path("default"), wide=True))
        print(f"\n$ curl -X POST {endpoint}/chat", flush=True)
        print(f"Question: {arguments.question}", flush=True)
        print(f"Answer:   {await ask(endpoint, arguments.question)}\n", flush=True)
        print(_HOW_TO_GO_ON.format(manifest=manifest), flush=True)
    return 0


def example() -> Path:
    """Return where the example Workspace is: in a checkout, or among the installed package's data."""
    package = Path(__file__).resolve().parents[1]
    for path in (package.parents[1] / "examples" / EXAMPLE, package / "data" / "examples" / EXAMPLE):
        if path.is_file():
            return path if not path.is_relative_to(Path.cwd()) else path.relative_to(Path.cwd())
    raise CliError(f"examples/{EXAMPLE} is not there; run this in a checkout of Berth")


async def ask(endpoint: str, question: str) -> str:
    """Return the model's answer to a question; raise CliError when there is none."""
    import aiohttp

    body = {"messages": [{"role": "user", "content": question}], "return_full_text": False}
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(f"{endpoint}/chat", json=body) as response,
        ):
            text = await response.text()
            if response.status != 200:
                raise CliError(f"{endpoint}/chat answered {response.status}: {text[:300]}")
            answer = str((await response.json())["Result"]).strip()
    except (aiohttp.ClientError, TimeoutError, KeyError, ValueError) as error:
        raise CliError(f"{endpoint}/chat did not answer: {error or type(error).__name__}") from None
    if not answer:
        raise CliError(f"{endpoint}/chat answered with nothing")
    return answer


async def _ready(client: "ApiClient", name: str, seconds: float) -> dict[str, Any] | None:
    """Wait, showing progress, until the Workspace is ready; None when it is not in time."""
    progress, began = Progress(), time.monotonic()
    try:
        while time.monotonic() - began < seconds:
            try:
                workspace = await client.get(WORKSPACES.path("default", name))
            except KubeError as error:
                raise CliError(f"the control plane does not answer: {error}") from None
            status = workspace.get("status") or {}
            ready: dict[str, Any] = next(
                (one for one in status.get("conditions") or () if one["type"] == "Ready"), {}
            )
            if ready.get("status") == "True" and status.get("endpoint"):
                progress.show("ready", time.monotonic() - began)
                return workspace
            progress.show(ready.get("message") or "waiting for the operator", time.monotonic() - began)
            await asyncio.sleep(POLL_SECONDS)
    finally:
        progress.finish()
    return None


class Progress:
    """One line that changes in place on a terminal; elsewhere a line for each change."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._last = ""

    def show(self, text: str, seconds: float) -> None:
        """Show what is going on, `seconds` after the start."""
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r{f'{seconds:4.0f} s  {text}'[:width]:<{width}}", end="", flush=True)
        elif text != self._last:
            print(f"{seconds:4.0f} s  {text}", flush=True)
        self._last = text

    def finish(self) -> None:
        """End the line."""
        if self._terminal:
            print(flush=True)


_HOW_TO_GO_ON = """\
That was the operator, the API and the server that run on a cluster. Nothing is left running. To go on:
  berth local                                 the same, staying up for kubectl and curl
  kubectl apply -f {manifest}
  helm install berth charts/berth             on a cluster"""
