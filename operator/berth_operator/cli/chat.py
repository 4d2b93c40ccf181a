"""`berth chat NAME`: talk to a Workspace's model, its answer shown as it is made."""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from berth_operator.api.names import SERVICE_PORT
from berth_operator.cli.connection import add_cluster_options, connected, find, namespace_of
from berth_operator.cli.errors import CliError
from berth_operator.cli.terminal import DIM, styled
from berth_operator.cluster_cache import WORKSPACES

REACH_SECONDS = 2.0
"""An address that is reachable from here answers /health in milliseconds."""

FORWARD_SECONDS = 15.0
"""How long kubectl may take to open a port."""

ANSWER_SECONDS = 600.0
"""A long answer of a large model on a processor."""

WAKE_SECONDS = 0.1
"""How long a Ctrl-C may be held back at the prompt: nobody notices."""

KEY_VARIABLE = "BERTH_API_KEY"
"""Where the API key is read from: arguments are seen by every user of a machine."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `berth chat`."""
    parser = subparsers.add_parser(
        "chat",
        help="talk to a Workspace's model",
        description="Talk to a Workspace's model: at its endpoint where that can be reached from here, else through "
        "kubectl port-forward. Ctrl-D ends. Text that is piped in is one question. The environment variable "
        f"{KEY_VARIABLE} holds the API key of a model that asks for one.",
    )
    parser.add_argument("name", metavar="NAME", help="the Workspace")
    parser.add_argument("-m", "--message", metavar="TEXT", help="ask this, print the answer, and end")
    add_cluster_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Talk until Ctrl-D, or answer one question; return 0."""
    return asyncio.run(_chat(arguments))


async def _chat(arguments: argparse.Namespace) -> int:
    namespace, name = namespace_of(arguments), arguments.name
    async with connected(arguments) as client:
        workspace = await find(client, WORKSPACES, namespace, name)
    status = workspace.get("status") or {}
    ready: dict[str, Any] = next(
        (one for one in status.get("conditions") or () if one["type"] == "Ready"), {}
    )
    if ready.get("status") != "True":
        raise CliError(
            f'Workspace "{name}" does not serve: {ready.get("message") or "no operator has looked at it yet"}'
        )
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    key = os.environ.get(KEY_VARIABLE)
    headers = {"Authorization": f"Bearer {key}"} if key else None
    async with (
        aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
        _address(session, arguments, status) as address,
    ):
        messages: list[dict[str, str]] = []
        async for question in _questions(arguments.message):
            messages.append({"role": "user", "content": question})
            answer = ""
            async for piece in _answer(session, address, name, messages):
                print(piece, end="", flush=True)
                answer += piece
            print(flush=True)
            messages.append({"role": "assistant", "content": answer})
    return 0


async def _questions(message: str | None) -> AsyncIterator[str]:
    if message is not None:
        yield message
        return
    if not sys.stdin.isatty():
        text = (await asyncio.to_thread(sys.stdin.read)).strip()
        if text:
            yield text
        return
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - lines can then be edited and called back
    print(styled("Ctrl-D ends.", DIM))
    while True:
        try:
            text = _typed().strip()
        except EOFError:
            print()
            return
        if text:
            yield text


def _typed() -> str:
    """Read a line from the terminal.

    Nothing else goes on meanwhile. From another thread it would, but a thread that reads cannot be ended: Ctrl-C would
    wait for the line.
    """
    # asyncio, too, would hold Ctrl-C back until the line is there.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    # A signal that comes after the prompt is shown, and before the wait for keys begins, is seen when the wait ends:
    # the next signal ends it.
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, WAKE_SECONDS, WAKE_SECONDS)
    try:
        return input("> ")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGINT, before)


@contextlib.asynccontextmanager
async def _address(
    session: aiohttp.ClientSession, arguments: argparse.Namespace, status: dict[str, Any]
) -> AsyncIterator[str]:
    """Where the model answers from here, while the context lasts."""
    endpoint = str(status.get("endpoint") or "")
    if endpoint and await _answers(session, endpoint):
        yield endpoint
        return
    async with _forwarded(arguments) as address:
        yield address


async def _answers(session: aiohttp.ClientSession, endpoint: str) -> bool:
    try:
        async with session.get(
            f"{endpoint}/health", timeout=aiohttp.ClientTimeout(total=REACH_SECONDS)
        ) as response:
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False


@contextlib.asynccontextmanager
async def _forwarded(arguments: argparse.Namespace) -> AsyncIterator[str]:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise CliError(
            "the endpoint cannot be reached from here, and there is no kubectl to forward a port with"
        )
    command = [kubectl, "port-forward", "--address", "127.0.0.1", "-n", namespace_of(arguments)]
    command += ["--kubeconfig", arguments.kubeconfig] if arguments.kubeconfig else []
    command += ["--context", arguments.context] if arguments.context else []
    process = await asyncio.create_subprocess_exec(
        *command,
        f"service/{arguments.name}",
        f":{SERVICE_PORT}",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None  # noqa: S101 - asked for above
    assert process.stderr is not None  # noqa: S101 - asked for above
    try:
        async with asyncio.timeout(FORWARD_SECONDS):
            # Forwarding from 127.0.0.1:40123 -> 5000
            line = (await process.stdout.readline()).decode(errors="replace")
        where = line.partition(" from ")[2].partition(" ")[0]
        if not where:
            said = (await process.stderr.read()).decode(errors="replace").strip()
            raise CliError(f"kubectl port-forward: {' '.join(said.split()) or 'ended at once'}")
        yield f"http://{where}"
    except TimeoutError:
        raise CliError(f"kubectl port-forward opened no port within {FORWARD_SECONDS:.0f} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _answer(
    session: aiohttp.ClientSession, address: str, model: str, messages: list[dict[str, str]]
) -> AsyncIterator[str]:
    """The pieces of an answer: streamed where the server streams, whole from one that has only /chat."""
    body = {"model": model, "messages": messages, "stream": True}
    try:
        async with session.post(f"{address}/v1/chat/completions", json=body) as response:
            if response.status == 200:
                async for line in response.content:
                    if piece := _piece(line.decode(errors="replace").strip()):
                        yield piece
                return
            if response.status == 401:
                raise CliError(f"the model asks for an API key: put a valid one into {KEY_VARIABLE}")
            if response.status != 404:
                raise CliError(f"the server answered {response.status}: {await _said(response)}")
        async with session.post(
            f"{address}/chat", json={"messages": messages, "return_full_text": False}
        ) as response:
            if response.status != 200:
                raise CliError(f"the server answered {response.status}: {await _said(response)}")
            yield str((await response.json()).get("Result", "")).strip()
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise CliError(f"the server did not answer: {error or type(error).__name__}") from None


def _piece(line: str) -> str:
    """The text in one line of a stream of server-sent events; "" where it has none."""
    data = line.removeprefix("data:").strip()
    if not line.startswith("data:") or data == "[DONE]":
        return ""
    event = json.loads(data)
    if "error" in event:
        raise CliError(f"the server ended the answer: {event['error'].get('message', event['error'])}")
    choices = event.get("choices") or [{}]
    return str((choices[0].get("delta") or {}).get("content") or "")


async def _said(response: aiohttp.ClientResponse) -> str:
    return " ".join((await response.text())[:300].split())
