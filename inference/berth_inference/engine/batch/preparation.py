"""A loaded model made fast, and found out about, before it serves."""

from __future__ import annotations

import logging
from typing import Any

from berth_inference.engine.batch.forward_lock import ForwardLock
from berth_inference.engine.batch.fusion import fuse
from berth_inference.engine.batch.lanes import LaneRule
from berth_inference.engine.batch.packing import pack
from berth_inference.engine.batch.rope import RopeRegimes
from berth_inference.engine.batch.self_test import why_not_batchable
from berth_inference.engine.batch.spinning import Spinning

_log = logging.getLogger(__name__)


def prepare(model: Any, forwards: ForwardLock) -> LaneRule:
    """Changes the model in place; its forwards take turns by the lock from then on.

    Returns which requests it can batch. The log says what was done, and why not.
    """
    rope = RopeRegimes(model)
    whole = fuse(model, rope)
    if whole is not None:
        _log.info("this model runs through the library's own layers: %s", whole)
    layers = pack(model)
    if layers:
        _log.info("%d linear layers are packed for this processor", layers)
    forwards.guard(model)
    if model.device.type == "cpu":
        Spinning().follow(model)
    problem = why_not_batchable(model, rope)
    if problem is not None:
        _log.warning("this model's requests run one at a time: %s", problem)
    return LaneRule(batchable=problem is None, rope=rope)
