"""Asking a container something: the actions of probes and lifecycle hooks."""

import asyncio
import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from berth_local.agent.addresses import Address
from berth_local.agent.plan.environment import translate
from berth_local.agent.plan.probe import port_number
from berth_local.agent.processes import Processes, StartError

OUTPUT_BYTES = 10_000
"""How much of an exec action's output is kept for its message, as the kubelet keeps."""


@dataclass(frozen=True, slots=True)
class Target:
    """A running container, as far as an action needs to know it."""

    container: Mapping[str, Any]
    address: Address
    environment: Mapping[str, str]
    mounts: Mapping[str, str]
    folder: Path
    processes: Processes


async def act(action: Mapping[str, Any], target: Target, seconds: float) -> str | None:
    """Do one action (httpGet, tcpSocket, exec or sleep) and return why it failed, or None when it succeeded."""
    try:
        async with asyncio.timeout(seconds):
            if "httpGet" in action:
                return await _http(action["httpGet"], target)
            if "tcpSocket" in action:
                return await _tcp(action["tcpSocket"], target)
            if "exec" in action:
                return await _exec(action["exec"].get("command") or (), target)
            if "sleep" in action:
                await asyncio.sleep(float(action["sleep"].get("seconds") or 0))
                return None
    except TimeoutError:
        return f"no answer within {seconds:g} s"
    return f"the embedded agent has no action {', '.join(action) or 'of no kind'}"


def _endpoint(action: Mapping[str, Any], target: Target) -> tuple[str, int] | None:
    number = port_number(action.get("port"), target.container)
    if number is None:
        return None
    return str(action.get("host") or target.address.ip), target.address.port(number)


async def _http(action: Mapping[str, Any], target: Target) -> str | None:
    endpoint = _endpoint(action, target)
    if endpoint is None:
        return f"the container has no port named {action.get('port')!r}"
    scheme = str(action.get("scheme") or "HTTP").lower()
    url = f"{scheme}://{endpoint[0]}:{endpoint[1]}/{str(action.get('path') or '/').lstrip('/')}"
    headers = {str(entry["name"]): str(entry["value"]) for entry in action.get("httpHeaders") or ()}
    headers.setdefault("User-Agent", "kube-probe/berth-local")
    connector = aiohttp.TCPConnector(ssl=False, force_close=True)
    try:
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get(url, headers=headers) as response,
        ):
            if 200 <= response.status < 400:
                return None
            return f"HTTP probe failed with statuscode: {response.status}"
    except aiohttp.ClientConnectorError as error:
        return f'Get "{url}": {_refusal(endpoint, error.os_error)}'
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return f'Get "{url}": {error or type(error).__name__}'


async def _tcp(action: Mapping[str, Any], target: Target) -> str | None:
    endpoint = _endpoint(action, target)
    if endpoint is None:
        return f"the container has no port named {action.get('port')!r}"
    try:
        _, writer = await asyncio.open_connection(*endpoint)
    except OSError as error:
        return _refusal(endpoint, error)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return None


def _refusal(endpoint: tuple[str, int], error: OSError) -> str:
    why = os.strerror(error.errno).lower() if error.errno else str(error)
    return f"dial tcp {endpoint[0]}:{endpoint[1]}: connect: {why}"


async def _exec(command: Sequence[str], target: Target) -> str | None:
    line = [translate(str(word), target.mounts) for word in command]
    if not line:
        return "no command specified"
    try:
        process = await target.processes.start(line, target.environment, target.folder)
    except StartError as error:
        return str(error)
    try:
        output = await process.output.read(OUTPUT_BYTES)
        while await process.output.read(2**16):
            pass
        code = await process.wait()
    except asyncio.CancelledError:
        process.kill()
        raise
    return None if code == 0 else output.decode(errors="replace").strip() or f"command exited with {code}"
