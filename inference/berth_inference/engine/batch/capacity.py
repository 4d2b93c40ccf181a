"""Whether a request could ever run on an empty server. Pure."""

from __future__ import annotations

from berth_inference.engine.batch.scheduler import Demand, Scheduler
from berth_inference.engine.request import GenerationRequest
from berth_inference.errors import invalid


def check_size(request: GenerationRequest, scheduler: Scheduler, *, exclusive: bool) -> None:
    """Raises `BerthError` with the numbers. What a model keeps that cannot be batched is not known."""
    limits = scheduler.limits
    demand = Demand(key=0, prompt=len(request.prompt), rows=request.n, new_tokens=request.max_new_tokens)
    if exclusive:
        rows = max(request.n, request.sampling.num_beams)
        if not limits.cells or rows * demand.total <= limits.cells:
            return
        what = f"{rows} {'beams' if request.sampling.num_beams > 1 else 'sequences'}"
    else:
        if request.n > limits.max_rows:
            raise invalid(
                "n", f"is {request.n}; this server runs at most {limits.max_rows} sequences at once."
            )
        if scheduler.fits_alone(demand):
            return
        what = f"{request.n} sequences"
    raise invalid(
        "max_new_tokens",
        f"asks for up to {demand.total} tokens (prompt and answer) in {what}, but this "
        f"server's memory holds {limits.cells} tokens in all: ask for less.",
    )
