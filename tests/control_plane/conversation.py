"""Holding the conversation of a transcript with an API server, and comparing two servers' answers."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from control_plane.transcript import Step

WATCH_SECONDS = 1
UNTIL_SECONDS = 20.0


@dataclass(frozen=True)
class Answer:
    """What a step was answered: HTTP status, body (a watch's events as a list) and warnings."""

    code: int
    body: Any
    warnings: list[str]


def at(value: Any, path: str) -> Any:
    """Return what is at a dotted path; numbers index lists. None where there is nothing."""
    for part in path.split("."):
        if isinstance(value, list):
            value = value[int(part)] if int(part) < len(value) else None
        else:
            value = value.get(part) if isinstance(value, Mapping) else None
    return value


class Conversation:
    """A client of one API server, by its kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0].get("user") or {}
        self._server = cluster["server"]
        self._headers = {"User-Agent": "transcript/1"}
        if "token" in user:
            self._headers["Authorization"] = f"Bearer {user['token']}"
        self._ssl: ssl.SSLContext | bool = True
        if "certificate-authority-data" in cluster:
            authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
            self._ssl = ssl.create_default_context(cadata=authority)
        self.answers: dict[str, Answer] = {}

    async def hold(self, steps: Sequence[Step]) -> dict[str, Answer]:
        """Go through the steps; returns their answers by name."""
        async with aiohttp.ClientSession(headers=self._headers) as session:
            for step in steps:
                self.answers[step.name] = await self._ask(session, step)
        return self.answers

    async def _ask(self, session: aiohttp.ClientSession, step: Step) -> Answer:
        end = asyncio.get_running_loop().time() + UNTIL_SECONDS
        while True:
            answer = await self._once(session, step)
            if not step.until or not self.faults(step, answer) or asyncio.get_running_loop().time() > end:
                return answer
            await asyncio.sleep(0.05)

    async def _once(self, session: aiohttp.ClientSession, step: Step) -> Answer:
        query = {name: self._filled(value) for name, value in step.query.items()}
        if step.watch:
            query |= {"watch": "true", "timeoutSeconds": str(WATCH_SECONDS)}
        body = step.body
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(self._filled(body)).encode()
        headers = {"Accept": step.accept} | ({"Content-Type": step.type} if body is not None else {})
        async with session.request(
            step.method, self._server + step.path, params=query, data=body, headers=headers, ssl=self._ssl
        ) as response:
            text = await response.text()
            warnings = response.headers.getall("Warning", [])
        if step.watch and response.status == 200:
            return Answer(response.status, [json.loads(line) for line in text.splitlines() if line], warnings)
        try:
            return Answer(response.status, json.loads(text), warnings)
        except ValueError:
            return Answer(response.status, text, warnings)

    def _filled(self, value: Any) -> Any:
        """Put earlier answers' values where `{step:path}` asks for them."""
        if isinstance(value, str):
            return re.sub(
                r"\{([^{}:]+):([^{}]+)\}", lambda found: str(at(self.answers[found[1]].body, found[2])), value
            )
        if isinstance(value, Mapping):
            return {name: self._filled(item) for name, item in value.items()}
        return [self._filled(item) for item in value] if isinstance(value, list) else value

    def faults(self, step: Step, answer: Answer) -> list[str]:
        """Return where an answer is not as its step says."""
        found = (
            [] if answer.code == step.code else [f"answered {answer.code}, not {step.code}: {answer.body}"]
        )
        for path, wanted in step.says.items():
            given = at(answer.body, path)
            if given != self._filled(wanted):
                found.append(f"{path} is {given!r}, not {self._filled(wanted)!r}")
        return found


_VOLATILE = {
    "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "time", "lastTransitionTime", "clusterIP",
    "clusterIPs", "continue", "lastHeartbeatTime",
}  # fmt: skip
_AGE = re.compile(r"^\d+[smh]$")
_UID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")


def normal(value: Any, name: str = "") -> Any:
    """Return an answer without what differs from run to run; that it is there is kept."""
    if name in _VOLATILE and value and value not in ("None", ["None"]):
        return f"<{name}>"
    if isinstance(value, Mapping):
        found = {key: normal(item, key) for key, item in value.items()}
        if len(at(value, "details.causes") or ()) > 1:
            # The faults are compared one by one as causes; the message lists them in the order they were found.
            found["message"] = str(found["message"]).partition(": [")[0]
        return found
    if isinstance(value, list):
        items = [normal(item) for item in value]
        if name == "managedFields":
            return sorted(
                items, key=lambda one: (one["manager"], one["operation"], one.get("subresource", ""))
            )
        return sorted(items, key=json.dumps) if name in ("causes", "verbs") else items
    if isinstance(value, str):
        if _AGE.match(value):
            return "<age>"
        text = _TIME.sub("<time>", _UID.sub("<uid>", value))
        text = re.sub(r"gen-[a-z0-9]{5}\b", "gen-<random>", text)
        return re.sub(r"\(\d+\)", "(<revision>)", text)
    return value


def differences(ours: Any, theirs: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (path, ours, theirs) wherever two normalised answers differ."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for name in sorted(ours.keys() | theirs.keys()):
            yield from differences(ours.get(name), theirs.get(name), f"{path}.{name}" if path else name)
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(one, other, f"{path}.{index}" if path else str(index))
    elif ours != theirs:
        yield path, ours, theirs
