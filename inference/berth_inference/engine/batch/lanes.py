"""Which of the two lanes a request takes. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from berth_inference.engine.batch.rope import RopeRegimes
from berth_inference.engine.request import GenerationRequest


class Lane(StrEnum):
    """How a request is run."""

    BATCH = "batch"
    EXCLUSIVE = "exclusive"


@dataclass(frozen=True, slots=True)
class LaneRule:
    """What is known of the model once it is loaded."""

    batchable: bool
    rope: RopeRegimes

    def lane(self, request: GenerationRequest) -> Lane:
        """Everything that advances by one token a row and step is batched."""
        if not self.batchable or request.sampling.num_beams > 1:
            return Lane.EXCLUSIVE
        boundary = self.rope.boundary
        longest = len(request.prompt) + request.max_new_tokens
        if boundary is not None and longest > boundary and not self.rope.batches_long:
            return Lane.EXCLUSIVE
        return Lane.BATCH
