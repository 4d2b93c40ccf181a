"""llama.cpp's own HTTP server, in the interpreter that has it: needs `xllamacpp`.

`PYTHON -m benchmarks.inference.llama_server FILE --port N`
"""

from __future__ import annotations

import argparse
import os
import threading

import xllamacpp

from benchmarks.inference.model import SHAPES

# Sequences at once, and how many tokens they hold in all: the largest workload fits.
_SEQUENCES = 64
_TOKENS = _SEQUENCES * SHAPES["112m"].context // 4


def main() -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    params = xllamacpp.CommonParams()
    params.model.path = options.file
    params.hostnames = ["127.0.0.1"]
    params.port = options.port
    params.n_parallel = _SEQUENCES
    params.n_ctx = _TOKENS
    params.kv_unified = True
    # As for Berth, no prompt begins with what has been read before.
    params.cache_prompt = False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = len(os.sched_getaffinity(0))
    server = xllamacpp.Server(params)
    print(f"llama.cpp listens on {server.listening_address}", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
