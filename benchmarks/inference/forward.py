"""One decoding step of the model alone, with nothing of the server around it.

    python -m benchmarks.inference.forward --model 112m --dtype bfloat16

compares the library's forward, the same with packed weights, and fused layers with packed weights. The
three take turns within one process, so a busy machine slows all alike; where it is very busy, --cpu-time
counts the time of the processor in one thread, which leaves out the waiting.

On a GPU nothing is packed: there the second is the library's forward without cuDNN's attention, and fused
layers are without it, too.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.inference.model import SHAPES, make
from berth_inference.engine.batch.fusion import fuse
from berth_inference.engine.batch.packing import pack
from berth_inference.engine.batch.rope import RopeRegimes
from berth_inference.engine.batch.runner import Runner
from berth_inference.engine.batch.scheduler import Regime

# Prompt tokens read in one forward while the rows are filled.
_CHUNK = 256


def main() -> None:
    """Print one line for each number of rows and context."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", choices=SHAPES, default="112m")
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 4, 16, 32])
    parser.add_argument("--context", type=int, nargs="+", default=[64, 256, 1000])
    parser.add_argument("--draft", type=int, default=0, help="tokens that each step tries beside the newest")
    parser.add_argument("--steps", type=int, default=30, help="of each, for each line")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--cpu-time", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1 if arguments.cpu_time else arguments.threads)
    clock = time.thread_time if arguments.cpu_time else time.perf_counter
    on_gpu = torch.cuda.is_available()
    device, second = ("cuda", "no cuDNN") if on_gpu else ("cpu", "packed")
    made = make(arguments.model, arguments.dtype).eval()
    models = [copy.deepcopy(made).to(device) for _ in range(3)]
    assert fuse(models[2], RopeRegimes(models[2])) is None
    assert on_gpu or (pack(models[1]) and pack(models[2]))
    print(f"{arguments.model} {arguments.dtype}: milliseconds of a step, median of {arguments.steps}")
    print(f"rows context  library  {second}  fused  {second} is  fused is  fused to {second}")
    with torch.inference_mode():
        for context in arguments.context:
            for rows in arguments.rows:
                steppers = [
                    _stepper(model, rows, context, arguments.draft, cudnn=model is models[0])
                    for model in models
                ]
                library, *others = _medians(steppers, arguments.steps, clock)
                speedups = "".join(f"{library / other:8.2f} x" for other in others)
                print(
                    f"{rows:4} {context:7} {library:8.1f}{others[0]:8.1f}{others[1]:7.1f} {speedups}"
                    f"{others[0] / others[1]:14.2f} x",
                    flush=True,
                )


def _stepper(model: Any, rows: int, context: int, draft: int, *, cudnn: bool) -> Callable[[], None]:
    """A function that gives every row one more token, after as many tokens as `context` says."""
    runner = Runner(model, RopeRegimes(model))
    staging = runner.stage(context)
    for start in range(0, context, _CHUNK):
        runner.prefill(staging, [7] * (min(start + _CHUNK, context) - start), Regime.SHORT)
    for _ in range(rows):
        runner.batch(Regime.SHORT).insert(staging, bound=context + 1)
    return lambda: _step(runner, rows, draft, cudnn)


def _step(runner: Runner, rows: int, draft: int, cudnn: bool) -> None:
    torch.backends.cuda.enable_cudnn_sdp(cudnn)
    logits = runner.step(Regime.SHORT, [[7] * (1 + draft)] * rows, 2**20)
    logits.argmax().item()  # which a GPU has to be waited for


def _medians(steppers: list[Callable[[], None]], steps: int, clock: Callable[[], float]) -> list[float]:
    """Milliseconds of each, in turns. The first turn is not counted."""
    times: list[list[float]] = [[] for _ in steppers]
    for turn in range(steps + 1):
        for stepper, taken in zip(steppers, times, strict=True):
            began = clock()
            stepper()
            if turn:
                taken.append((clock() - began) * 1000)
    return [statistics.median(taken) for taken in times]


if __name__ == "__main__":
    main()
