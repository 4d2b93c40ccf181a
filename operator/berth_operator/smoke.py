"""`helm test`: apply a Workspace as a user would, wait until its model serves, ask it a question, delete it.

python -m berth_operator.smoke --namespace NAMESPACE [--name NAME] [--timeout SECONDS]
"""

import argparse
import asyncio
import contextlib
import sys
import time
from collections.abc import Callable
from typing import Final

from berth_operator.api.names import API_VERSION, KIND
from berth_operator.cli.demo import QUESTION, ask
from berth_operator.cli.errors import CliError
from berth_operator.cluster_cache import WORKSPACES
from berth_operator.kube import Conflict, KubeClient, KubeError, NoCluster, NotFound, Object

PRESET: Final = "tiny-chat"
POLL_SECONDS: Final = 1.0

Say = Callable[[str], None]


class SmokeTestFailed(Exception):
    """The model did not answer; the message says what came in the way."""


class _Client(KubeClient):
    async def delete(self, namespace: str, name: str) -> None:
        with contextlib.suppress(NotFound):
            await self._request("DELETE", WORKSPACES.path(namespace, name))


def workspace(namespace: str, name: str) -> Object:
    """The Workspace that is tried: the built-in model, which needs neither a GPU nor a download."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name, "namespace": namespace},
        "resource": {"labelSelector": {"matchLabels": {"kubernetes.io/os": "linux"}}},
        "inference": {"preset": {"name": PRESET}},
    }


async def smoke_test(namespace: str, name: str, seconds: float, say: Say) -> str:
    """Return the model's answer. Raises `SmokeTestFailed`, or `KubeError` if the API server refuses something.

    The Workspace is deleted in any case; one that an interrupted test left behind is deleted first.
    """
    async with await _Client.connect() as client:
        try:
            async with asyncio.timeout(seconds):
                await _create(client, namespace, name, say)
                endpoint = await _ready(client, namespace, name, say)
                say(f"asking {endpoint}: {QUESTION}")
                return await ask(endpoint, QUESTION)
        except TimeoutError:
            raise SmokeTestFailed(
                f"no answer within {seconds:.0f} s; the lines above say what it waited for"
            ) from None
        finally:
            await client.delete(namespace, name)


async def _create(client: _Client, namespace: str, name: str, say: Say) -> None:
    while True:
        try:
            await client.create(WORKSPACES, workspace(namespace, name))
        except Conflict:
            say(f"deleting the Workspace {namespace}/{name} that an earlier test left behind")
            await client.delete(namespace, name)
            await asyncio.sleep(POLL_SECONDS)
        else:
            say(f"applied Workspace {namespace}/{name} with preset {PRESET}")
            return


async def _ready(client: _Client, namespace: str, name: str, say: Say) -> str:
    """Wait until the Workspace is ready; say its message whenever that changes; return the model's address."""
    said, began = "", time.monotonic()
    while True:
        found = await client.get(WORKSPACES, namespace, name)
        if found is None:
            raise SmokeTestFailed(f"somebody deleted Workspace {namespace}/{name}")
        status = found.get("status") or {}
        conditions = {one["type"]: one for one in status.get("conditions") or []}
        ready = conditions.get("Ready") or {}
        if ready.get("status") == "True" and status.get("endpoint"):
            return str(status["endpoint"])
        message = ready.get("message") or "the operator has not seen the Workspace yet; does it run?"
        if message != said:
            say(f"{time.monotonic() - began:4.0f} s  {message}")
            said = message
        await asyncio.sleep(POLL_SECONDS)


def main(arguments: list[str] | None = None) -> int:
    """Run the test; return 0 if the model answered, else 1."""
    parser = argparse.ArgumentParser(
        prog="berth_operator.smoke", description="Serve a small model and ask it a question."
    )
    parser.add_argument("--namespace", required=True, help="where the Workspace is applied")
    parser.add_argument("--name", default="berth-smoke-test", help="its name (default: %(default)s)")
    parser.add_argument(
        "--timeout", type=float, default=900, metavar="SECONDS", help="(default: %(default)g)"
    )
    options = parser.parse_args(arguments)

    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    try:
        answer = asyncio.run(smoke_test(options.namespace, options.name, options.timeout, say))
    except (SmokeTestFailed, CliError, KubeError, NoCluster) as error:
        sys.stderr.write(f"berth_operator.smoke: {error}\n")
        return 1
    say(f"it answered: {answer}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
