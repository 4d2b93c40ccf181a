"""Models whose position encoding depends on how long the sequence is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


class RopeRegimes:
    """What a model's rotary embeddings say of sequence lengths.

    `boundary` is the length in tokens up to which the model uses its usual frequencies; None where
    it always does. Beyond it, LongRoPE has one other set of frequencies, so long sequences can share
    a forward; with dynamic scaling every length has its own, so they cannot (`batches_long`).

    transformers picks the frequencies by the longest position in a forward, for all its rows.
    """

    def __init__(self, model: Any) -> None:
        self.boundary: int | None = None
        self.batches_long = True
        self._local = threading.local()  # the other lane's forwards are none of this one's
        for module in model.modules():
            kinds = getattr(module, "rope_type", None)
            by_layer = isinstance(kinds, dict)
            for kind in kinds.values() if isinstance(kinds, dict) else (kinds,):
                if kind == "longrope":
                    self._note(_original_length(module))
                    module.register_forward_pre_hook(self._stretch, with_kwargs=True)
                    module.register_forward_hook(self._trim)
                elif isinstance(kind, str) and "dynamic" in kind:
                    self._note(int(module.original_max_seq_len))
                    self.batches_long = False
                    if not by_layer:
                        module.register_forward_pre_hook(_forget)

    @contextmanager
    def long(self) -> Iterator[None]:
        """Forwards use the frequencies of long sequences, also where they hold only the first part of one."""
        self._local.long = True
        try:
            yield
        finally:
            self._local.long = False

    @property
    def _stretches(self) -> bool:
        return getattr(self._local, "long", False)

    def _note(self, length: int) -> None:
        self.boundary = length if self.boundary is None else min(self.boundary, length)

    def _stretch(self, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Add one position beyond the boundary, which decides for all."""
        if not self._stretches:
            return None
        positions = kwargs["position_ids"] if "position_ids" in kwargs else args[1]
        beyond = positions.new_full((positions.shape[0], 1), self.boundary or 0)
        stretched = torch.cat([positions, beyond], dim=1)
        if "position_ids" in kwargs:
            return args, {**kwargs, "position_ids": stretched}
        return (args[0], stretched, *args[2:]), kwargs

    def _trim(self, _: Any, __: Any, output: tuple[torch.Tensor, torch.Tensor]) -> Any:
        """Take that position's values away again. Cosines and sines are (rows, positions, size)."""
        return tuple(values[:, :-1] for values in output) if self._stretches else None


def _original_length(module: Any) -> int:
    parameters = module.config.rope_parameters
    if "original_max_position_embeddings" not in parameters:
        parameters = next(item for item in parameters.values() if item.get("rope_type") == "longrope")
    return int(parameters["original_max_position_embeddings"])


def _forget(module: Any, *_: Any) -> None:
    """Without this, a long sequence would change the frequencies of a shorter one after it."""
    if module.max_seq_len_cached != module.original_max_seq_len:
        module.register_buffer("inv_freq", module.original_inv_freq, persistent=False)
        module.max_seq_len_cached = module.original_max_seq_len
