"""Log-probabilities of tokens as the bare model sees them, before penalties and sampling arguments."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from berth_inference.engine.batch.job import Job, Row
from berth_inference.engine.events import TokenEvent, TopLogprobs


class StepLogprobs:
    """Taken from a step's logits before the sampler changes them, for the rows that asked."""

    def __init__(self, logits: torch.Tensor, pairs: Sequence[tuple[Job, Row]]) -> None:
        wanted = [index for index, (job, _) in enumerate(pairs) if job.request.logprobs]
        self._position = {index: position for position, index in enumerate(wanted)}
        self._values = logits[torch.tensor(wanted, device=logits.device)].log_softmax(-1) if wanted else None

    def event(self, index: int, job: Job, row: Row, token: int) -> TokenEvent:
        """The event that tells of a row's new token."""
        if self._values is None or index not in self._position:
            return TokenEvent(row.index, (token,))
        values = self._values[self._position[index]]
        top: tuple[TopLogprobs, ...] | None = None
        if job.request.top_logprobs:
            found = values.topk(min(job.request.top_logprobs, values.shape[0]))
            top = (tuple(zip(found.indices.tolist(), found.values.tolist(), strict=True)),)
        return TokenEvent(row.index, (token,), (float(values[token]),), top)
