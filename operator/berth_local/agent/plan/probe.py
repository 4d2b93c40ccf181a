"""Probes: what a container's spec asks for, and what a row of results means."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

Kind = Literal["startup", "readiness", "liveness"]
KINDS: tuple[Kind, ...] = ("startup", "readiness", "liveness")


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe of a container; times in seconds, defaults as Kubernetes has them."""

    kind: Kind
    action: Mapping[str, Any]
    initial_delay: float = 0.0
    period: float = 10.0
    timeout: float = 1.0
    failure_threshold: int = 3
    success_threshold: int = 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the results so far say: `passing` is None until a threshold was reached."""

    passing: bool | None = None
    last: bool | None = None
    run: int = 0


def probe_of(container: Mapping[str, Any], kind: Kind) -> Probe | None:
    """Return a container's probe of that kind, or None when it has none."""
    given = container.get(f"{kind}Probe")
    if not given:
        return None
    return Probe(
        kind=kind,
        action={name: given[name] for name in ("httpGet", "tcpSocket", "exec", "grpc") if name in given},
        initial_delay=float(given.get("initialDelaySeconds") or 0),
        period=float(given.get("periodSeconds") or 10),
        timeout=float(given.get("timeoutSeconds") or 1),
        failure_threshold=int(given.get("failureThreshold") or 3),
        success_threshold=int(given.get("successThreshold") or 1),
    )


def judge(verdict: Verdict, success: bool, probe: Probe) -> Verdict:
    """Return the verdict after one more result: it turns only when a threshold of equal results is reached."""
    run = verdict.run + 1 if verdict.last is success else 1
    threshold = probe.success_threshold if success else probe.failure_threshold
    passing = success if run >= threshold else verdict.passing
    return replace(verdict, passing=passing, last=success, run=run)


def unsupported(container: Mapping[str, Any]) -> str | None:
    """Return why a probe of the container cannot be made by this agent, or None when all can."""
    for kind in KINDS:
        probe = probe_of(container, kind)
        if probe is not None and not {"httpGet", "tcpSocket", "exec"} & set(probe.action):
            asked = next(iter(probe.action), "nothing")
            return f"{kind} probe uses {asked}: the embedded agent makes httpGet, tcpSocket and exec probes"
    return None


def port_number(port: object, container: Mapping[str, Any]) -> int | None:
    """Return the number of a container port given by number or name, or None for a name it does not have."""
    if isinstance(port, int):
        return port
    if isinstance(port, str) and port.isdecimal():
        return int(port)
    for entry in container.get("ports") or ():
        if entry.get("name") == port:
            return int(entry["containerPort"])
    return None
