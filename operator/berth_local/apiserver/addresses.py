"""Cluster addresses of Services: one of 127.96.0.0/16 each, so that a node agent can listen there."""

import ipaddress
from collections.abc import Iterable, Iterator

NETWORK = ipaddress.ip_network("127.96.0.0/16")


class AddressesUsedUp(Exception):
    """Every address of the network belongs to a Service."""


class AddressPool:
    """Hands out addresses in turn, so that a freed one is not another Service's at once."""

    def __init__(self) -> None:
        self._last = int(NETWORK.network_address)

    def allocate(self, used: Iterable[str]) -> str:
        """Return an address that is not in use; AddressesUsedUp when there is none."""
        taken = set(used)
        for number in self._candidates():
            address = str(ipaddress.ip_address(number))
            if address not in taken:
                self._last = number
                return address
        raise AddressesUsedUp

    def _candidates(self) -> Iterator[int]:
        """Yield the numbers after the last one handed out, then those before; never the network's ends."""
        first, last = int(NETWORK.network_address) + 1, int(NETWORK.broadcast_address) - 1
        yield from range(max(self._last + 1, first), last + 1)
        yield from range(first, min(self._last, last) + 1)


def is_allowed(address: str) -> bool:
    """Say whether a Service may ask for this address."""
    try:
        return ipaddress.ip_address(address) in NETWORK
    except ValueError:
        return False
