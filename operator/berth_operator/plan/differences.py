"""Whether a live object already is what was meant, so that nothing is written when nothing differs."""

import hashlib
import json
from typing import Any

from berth_operator.quantity import parse_quantity

QUANTITIES = frozenset({"requests", "limits"})
"""Fields whose values are quantities by resource: the API server spells them anew, `0.5` as `500m`."""


def covers(live: Any, wanted: Any) -> bool:
    """Whether every field of `wanted` stands in `live` with the same value; what `live` has beyond that is not ours.

    Lists of named items (containers, volumes, environment variables, ports) are matched by name, because other
    writers may add items of their own; other lists must be equal item by item.
    """
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(
            key in live
            and (_same_amounts(live[key], value) if key in QUANTITIES else covers(live[key], value))
            for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        if not isinstance(live, list):
            return False
        if wanted and all(isinstance(item, dict) and isinstance(item.get("name"), str) for item in wanted):
            by_name = {item.get("name"): item for item in live if isinstance(item, dict)}
            return all(item["name"] in by_name and covers(by_name[item["name"]], item) for item in wanted)
        return len(live) == len(wanted) and all(map(covers, live, wanted))
    return bool(live == wanted) and isinstance(live, bool) == isinstance(wanted, bool)


def _same_amounts(live: Any, wanted: Any) -> bool:
    if not isinstance(live, dict) or not isinstance(wanted, dict):
        return covers(live, wanted)
    return all(name in live and _same_amount(live[name], amount) for name, amount in wanted.items())


def _same_amount(live: Any, wanted: Any) -> bool:
    try:
        return parse_quantity(str(live)) == parse_quantity(str(wanted))
    except ValueError:
        return covers(live, wanted)


def digest(value: Any) -> str:
    """Return a short fingerprint of plain data that does not depend on the order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
