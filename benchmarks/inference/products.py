"""Products of a linear layer in bfloat16: Berth's own in C beside oneDNN's, by turns, in this process.

Where oneDNN computes no bfloat16, its products are of the same numbers in float32.

    python -m benchmarks.inference.products --rows 1 4 16 256 --size 2048x11264

Weights come from memory, as in a model: as many layers take turns as fill `--mebibytes`.
"""

from __future__ import annotations

import argparse
import time

import torch

from benchmarks.inference.model import SHAPES
from berth_inference.engine.batch.native_linear import NativeLinear
from berth_inference.engine.batch.packed_linear import PackedLinear, can_pack
from berth_inference.kernels.library import Unavailable, load

# A number type, and layers that take turns.
Way = tuple[torch.dtype, list[torch.nn.Module]]


def main() -> None:
    """Print one line for each size and number of rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 4, 8, 16, 64, 256])
    parser.add_argument("--size", nargs="+", default=_sizes(), metavar="INxOUT")
    parser.add_argument("--mebibytes", type=int, default=400, help="more than the processor's caches hold")
    parser.add_argument("--times", type=int, default=7, help="the fastest counts")
    arguments = parser.parse_args()
    try:
        load()
    except Unavailable as reason:
        parser.error(f"the kernels in C cannot be used here: {reason}")
    dtype = torch.bfloat16 if can_pack(torch.bfloat16) else torch.float32
    print(f"oneDNN's are of {dtype}.")
    print("     in x out    rows   oneDNN ms   GB/s  GFLOP/s     C ms   GB/s  GFLOP/s   C is")
    with torch.inference_mode():
        for size in arguments.size:
            inputs, outputs = map(int, size.split("x"))
            count = max(1, arguments.mebibytes * 2**20 // (2 * inputs * outputs))
            linear = torch.nn.Linear(inputs, outputs, bias=False, dtype=torch.bfloat16)
            ways: list[Way] = [
                (torch.bfloat16, [NativeLinear(linear) for _ in range(count)]),
                (dtype, [PackedLinear(linear.to(dtype)) for _ in range(count)]),
            ]
            for rows in arguments.rows:
                ours, theirs = _fastest(ways, torch.randn(rows, inputs), arguments.times)
                columns = [
                    f"{1e3 * seconds:9.3f} {1e-9 * one.itemsize * inputs * outputs / seconds:7.1f} "
                    f"{2e-9 * rows * inputs * outputs / seconds:7.0f}"
                    for seconds, one in ((theirs, dtype), (ours, torch.bfloat16))
                ]
                print(
                    f"{inputs:7} x {outputs:<6}{rows:4}  {columns[0]}{columns[1]}   {theirs / ours:.2f} x",
                    flush=True,
                )


def _fastest(ways: list[Way], states: torch.Tensor, times: int) -> list[float]:
    """Seconds of one product, for each way."""
    found = [float("inf")] * len(ways)
    for _ in range(times):
        for index, (dtype, layers) in enumerate(ways):
            given = states.to(dtype)
            started = time.perf_counter()
            for layer in layers:
                layer(given)
            found[index] = min(found[index], (time.perf_counter() - started) / len(layers))
    return found


def _sizes() -> list[str]:
    """Of the layers of both benchmark models that are joined and packed."""
    sizes = []
    for name in ("112m", "1.1b"):
        shape = SHAPES[name]
        keys = shape.hidden // shape.heads * shape.kv_heads
        sizes += [f"{shape.hidden}x{shape.hidden + 2 * keys}", f"{shape.hidden}x{shape.hidden}"]
        sizes += [f"{shape.hidden}x{2 * shape.inner}", f"{shape.inner}x{shape.hidden}"]
    return sizes


if __name__ == "__main__":
    main()
