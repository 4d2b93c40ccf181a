"""What memory there is for keys and values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from berth_inference.engine.batch.cgroup import left_by_limits

_MEMINFO = Path("/proc/meminfo")

# Of what is free once the model is loaded: the rest is for activations, logits, copies while buffers
# grow, and the beams of the exclusive lane.
_SHARE = 0.5


def key_value_bytes(model: Any) -> int:
    """Bytes that one token's keys and values take, over all layers, by a forward of one token."""
    token = torch.zeros(1, 1, dtype=torch.long, device=model.device)
    with torch.inference_mode():
        cache = model(token, use_cache=True).past_key_values
    total = 0
    for layer in cache.layers:
        for states in (getattr(layer, "keys", None), getattr(layer, "values", None)):
            if states is not None:
                total += states.numel() * states.element_size()
    return total


def free_bytes(device: torch.device, meminfo: Path = _MEMINFO) -> int:
    """Memory that is left: of the device, or of the container's limit and the machine for a CPU.

    Pages of files count as free, among them those of weights that are mapped from disk.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free, allowed = _machine_free(meminfo), left_by_limits()
    return free if allowed is None else min(free, allowed)


def _machine_free(meminfo: Path) -> int:
    lines = dict(line.split(":") for line in meminfo.read_text().splitlines() if ":" in line)
    return int(lines["MemAvailable"].split()[0]) * 1024


def budget_cells(model: Any, asked_bytes: int | None) -> int:
    """Positions of keys and values that may be held at once."""
    budget = asked_bytes if asked_bytes is not None else int(free_bytes(model.device) * _SHARE)
    return budget // max(1, key_value_bytes(model))
