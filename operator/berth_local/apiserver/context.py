"""What request handlers share."""

import asyncio
from dataclasses import dataclass, field

from berth_local.apiserver.kinds.registry import Registry
from berth_local.apiserver.logs import PodLogs
from berth_local.apiserver.store import Store
from berth_local.apiserver.writing import Writer


@dataclass(slots=True)
class Context:
    """One server's parts. `closing` is set when watches are to end."""

    store: Store
    registry: Registry
    writer: Writer
    pod_logs: PodLogs | None = None
    closing: asyncio.Event = field(default_factory=asyncio.Event)
