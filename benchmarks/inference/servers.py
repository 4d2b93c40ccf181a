"""The servers that are compared: how each is started over the same weights, and how it is asked."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.inference.workloads import Ask
from benchmarks.server_process import ROOT, ServerProcess, berth

# Positions of transformers' paged cache: 160 pages of 256 hold the largest workload. Its default takes
# most of the machine's memory.
_PAGES, _PAGE, _BATCH_TOKENS = 160, 256, 512


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of server. `body` makes the JSON of a request from its prompt, token ids."""

    name: str
    what: str
    path: str
    body: Callable[[list[int], Ask], dict[str, Any]]
    streams: bool = True


def _words(prompt: list[int]) -> str:
    return " ".join(f"w{token}" for token in prompt)


def _berth_body(prompt: list[int], ask: Ask) -> dict[str, Any]:
    return {
        "prompt": prompt,
        "max_tokens": ask.new,
        "ignore_eos": True,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def _whole_body(prompt: list[int], ask: Ask) -> dict[str, Any]:
    streamed = ("stream", "stream_options")
    return {name: value for name, value in _berth_body(prompt, ask).items() if name not in streamed}


def _serve_body(prompt: list[int], ask: Ask) -> dict[str, Any]:
    arguments = {"do_sample": False, "eos_token_id": -1, "pad_token_id": 0, "max_new_tokens": ask.new}
    return {
        "prompt": _words(prompt),
        "max_tokens": ask.new,
        "stream": True,
        "generation_config": json.dumps(arguments),
    }


def _chat_body(prompt: list[int], ask: Ask) -> dict[str, Any]:
    arguments = {"max_new_tokens": ask.new, "min_new_tokens": ask.new, "do_sample": False}
    return {"prompt": _words(prompt), "generate_kwargs": arguments}


_COMPLETIONS = "/v1/completions"

KINDS = {
    kind.name: kind
    for kind in (
        Kind("berth", "python -m berth_inference serve", _COMPLETIONS, _berth_body),
        Kind(
            "berth-whole",
            "the same, answering whole as the pipeline does",
            _COMPLETIONS,
            _whole_body,
            streams=False,
        ),
        Kind(
            "berth-undrafted",
            "the same without drafts from the text so far",
            _COMPLETIONS,
            _whole_body,
            streams=False,
        ),
        Kind("pipeline", "a pipeline behind thread-pool endpoints", "/chat", _chat_body, streams=False),
        Kind("continuous", "transformers' continuous batching", "/chat", _chat_body, streams=False),
        Kind("serve", "transformers serve --continuous-batching", _COMPLETIONS, _serve_body),
        Kind("llama.cpp", "llama.cpp's own server", _COMPLETIONS, _berth_body),
    )
}


@dataclass(frozen=True, slots=True)
class Weights:
    """What is served: a folder as transformers reads it, its number type, and for llama.cpp an interpreter.

    The servers of transformers compute in `transformers_dtype`, the same numbers.
    """

    folder: Path
    dtype: str
    transformers_dtype: str
    llama_python: str | None


def why_skipped(name: str, weights: Weights) -> str | None:
    """Why a kind of server cannot run here, or None."""
    if name == "serve":
        missing = [m for m in ("typer", "rich", "openai") if importlib.util.find_spec(m) is None]
        return f"transformers serve needs {', '.join(missing)}" if missing else None
    if name == "llama.cpp":
        if weights.llama_python is None:
            return "give an interpreter that has xllamacpp and gguf with --llama-python"
        tried = subprocess.run(
            [weights.llama_python, "-c", "import xllamacpp, gguf"], capture_output=True, text=True
        )
        lines = tried.stderr.strip().splitlines()
        return f"{weights.llama_python}: {lines[-1] if lines else 'fails'}" if tried.returncode else None
    return None


def start(name: str, weights: Weights) -> ServerProcess:
    """A server of this kind; it is not ready yet."""
    folder, dtype = str(weights.folder), weights.transformers_dtype
    if name.startswith("berth"):
        drafts = ("--lookup-tokens", "0") if name == "berth-undrafted" else ()
        return berth(folder, "--dtype", weights.dtype, "--max-queued", "256", *drafts)
    if name == "serve":
        command = [sys.executable, "-m", "transformers.cli.transformers", "serve", folder, "--dtype", dtype]
        command += ["--host", "127.0.0.1", "--continuous-batching"]
        command += ["--cb-num-blocks", str(_PAGES), "--cb-block-size", str(_PAGE)]
        return ServerProcess(name, [*command, "--cb-max-batch-tokens", str(_BATCH_TOKENS)])
    if name == "llama.cpp":
        assert weights.llama_python is not None
        return ServerProcess(
            name, [weights.llama_python, "-m", "benchmarks.inference.llama_server", str(_gguf(weights))]
        )
    command = [sys.executable, "-m", "benchmarks.inference.pipeline_server", name]
    command += ["--model", folder, "--dtype", dtype]
    if name == "continuous":
        command += ["--pages", str(_PAGES), "--page", str(_PAGE), "--batch-tokens", str(_BATCH_TOKENS)]
    return ServerProcess(name, command)


def _gguf(weights: Weights) -> Path:
    """The same weights as GGUF."""
    file = weights.folder / "model.gguf"
    if not file.is_file():
        assert weights.llama_python is not None
        command = [
            weights.llama_python,
            "-m",
            "benchmarks.inference.gguf_model",
            str(weights.folder),
            str(file),
        ]
        subprocess.run(command, cwd=ROOT, check=True)
    return file
