"""Where pods listen: on Linux an address of its own for each, elsewhere a free port of 127.0.0.1."""

import contextlib
import random
import socket
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

LOOPBACK = "127.0.0.1"

# All of 127.0.0.0/8 is loopback on Linux. Services take 127.96.0.0/16; pods take what lies above it, at random,
# so that several control planes on one machine rarely try the same address and never need to know of each other.
_SECOND = range(97, 127)
_TRIES = 50


@dataclass(frozen=True, slots=True)
class Address:
    """Where one pod listens."""

    ip: str
    ports: Mapping[int, int] = field(default_factory=dict)
    """Container port -> port listened on, where the two differ."""

    def port(self, container_port: int) -> int:
        """Return the port that stands for a container's port."""
        return self.ports.get(container_port, container_port)


class NoAddress(OSError):
    """No free address was found."""


def own_addresses() -> bool:
    """Return whether each pod can have a loopback address of its own on this system."""
    return sys.platform == "linux"


def allot(ports: Iterable[int], own: bool) -> Address:
    """Return an address where these ports are free right now.

    With an address of its own a pod listens on its container ports; else its first port is replaced by a free
    one, as only the first can be told to the program.
    """
    wanted = list(ports)
    if not own:
        return Address(LOOPBACK, {wanted[0]: free_port(LOOPBACK)} if wanted else {})
    for _ in range(_TRIES):
        ip = f"127.{random.choice(_SECOND)}.{random.randint(0, 255)}.{random.randint(1, 254)}"  # noqa: S311
        if all(_is_free(ip, port) for port in wanted):
            return Address(ip)
    raise NoAddress(
        f"no address of 127.{_SECOND[0]}.0.0 to 127.{_SECOND[-1]}.255.254 is free on ports {wanted}"
    )


def free_port(ip: str) -> int:
    """Return a port that is free right now."""
    with socket.socket() as probe:
        probe.bind((ip, 0))
        return int(probe.getsockname()[1])


def _is_free(ip: str, port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((ip, port))
        return True
    return False
