"""From start to ready, against a bare import and load: `python -m benchmarks.inference.startup`.

Both are started in turn, so that a neighbour disturbs both alike; medians are compared. The bare program
imports torch and transformers and loads the model and its tokenizer, and does nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import time

from benchmarks.server_process import ROOT, berth

_NEEDED = 1.3

_BARE = """
import sys, torch, transformers
transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype="auto", local_files_only=True)
transformers.AutoTokenizer.from_pretrained(sys.argv[1], local_files_only=True)
print("loaded", flush=True)
"""


def _bare(folder: str) -> float:
    """Seconds until the model is loaded; what follows is the interpreter's end."""
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", _BARE, folder], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        if process.stdout.readline() != b"loaded\n":
            raise SystemExit(f"transformers cannot load {folder}")
        seconds = time.perf_counter() - began
        process.kill()
    return seconds


async def _berth(model: str) -> float:
    """Seconds until /health says 200."""
    began = time.perf_counter()
    server = berth(model)
    try:
        await server.ready()
        return time.perf_counter() - began
    finally:
        server.end()


def main() -> int:
    """Measure, and print. Returns 1 where the ratio is too large."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inference.startup", description=__doc__)
    parser.add_argument("--model", default="tiny-chat", help="a built-in name, or a folder")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    from berth_inference.models import built_in_models

    folder = str(built_in_models().get(options.model, options.model))
    asyncio.run(_berth(options.model))  # files are in the page cache from here on
    _bare(folder)
    own, bare = [], []
    for _ in range(options.repeats):
        own.append(asyncio.run(_berth(options.model)))
        bare.append(_bare(folder))
        print(f"berth is ready after {own[-1]:.2f} s, a bare load takes {bare[-1]:.2f} s", flush=True)
    ratio = statistics.median(own) / statistics.median(bare)
    print(
        f"medians: {statistics.median(own):.2f} and {statistics.median(bare):.2f} s, {ratio:.2f} x, "
        f"at most {_NEEDED} x: {'holds' if ratio <= _NEEDED else 'DOES NOT HOLD'}"
    )
    return 0 if ratio <= _NEEDED else 1


if __name__ == "__main__":
    sys.exit(main())
