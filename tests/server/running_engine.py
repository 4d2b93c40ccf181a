"""A batch engine over a small random model, that has to be left as it was found: idle, without a cell taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from berth_inference.engine.batch.engine import BatchEngine, BatchSettings
from server.model_zoo import make_pipeline


@asynccontextmanager
async def running(
    architecture: str = "llama", dtype: str = "float32", **changes: Any
) -> AsyncIterator[BatchEngine]:
    """Run an engine with these settings; once its requests have ended, nothing of them is left."""
    settings = BatchSettings(**{"max_queued": 100, "kv_bytes": 16 * 2**20, **changes})
    engine = BatchEngine(make_pipeline(architecture, dtype), names=("zoo",), settings=settings)
    try:
        yield engine
        assert await asyncio.to_thread(engine._idle.wait, 10)
        assert engine._scheduler.cells == 0
        assert not engine._batches.busy
    finally:
        engine.close()
