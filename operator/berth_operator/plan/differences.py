"""Whether a live object already is what was meant, so that nothing is written when nothing differs."""

import hashlib
import json
from typing import Any


def covers(live: Any, wanted: Any) -> bool:
    """Whether every field of `wanted` stands in `live` with the same value; what `live` has beyond that is not ours.

    Lists of named items (containers, volumes, environment variables, ports) are matched by name, because other
    writers may add items of their own; other lists must be equal item by item.
    """
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(
            key in live and covers(live[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        if not isinstance(live, list):
            return False
        if wanted and all(isinstance(item, dict) and "name" in item for item in wanted):
            by_name = {item.get("name"): item for item in live if isinstance(item, dict)}
            return all(item["name"] in by_name and covers(by_name[item["name"]], item) for item in wanted)
        return len(live) == len(wanted) and all(map(covers, live, wanted))
    return bool(live == wanted) and isinstance(live, bool) == isinstance(wanted, bool)


def digest(value: Any) -> str:
    """Return a short fingerprint of plain data that does not depend on the order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
