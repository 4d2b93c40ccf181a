"""The generated parts of the pages on the HTTP APIs, made from the models that read the requests.

python -m berth_inference.api_tables --write FOLDER   write them into the pages of a folder
python -m berth_inference.api_tables --check FOLDER   name the pages that are not current; exit 1 where there are any

A page is written by hand but for what stands between `<!-- generated: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel

from berth_inference.engine.remote.arguments import MAPPED, REFUSED
from berth_inference.errors import MEANINGS, BerthError, ErrorKind
from berth_inference.http_errors import content, status
from berth_inference.schemas.chat import ChatRequest
from berth_inference.schemas.chat_completions import ChatCompletionRequest
from berth_inference.schemas.completions import CompletionRequest
from berth_inference.schemas.generate import GenerateRequest
from berth_inference.schemas.json_objects import JSONObject, advice, objects, values
from berth_inference.schemas.openai import OpenAIRequest
from berth_inference.schemas.tokens import DetokenizeRequest, TokenizeRequest
from berth_inference.settings import OPTIONS, Settings

PAGES: Mapping[str, tuple[str, tuple[type[BaseModel], ...]]] = {
    "chat.md": ("/chat", (ChatRequest,)),
    "generate.md": ("/v1/generate", (GenerateRequest,)),
    "openai.md": (
        "/v1/chat/completions",
        (OpenAIRequest, ChatCompletionRequest, CompletionRequest, TokenizeRequest, DetokenizeRequest),
    ),
}
"""Each API's page: its path, whose form of errors it tells, and the bodies that it explains."""

WRITTEN = (*PAGES, "vllm.md")
"""Every page that has generated parts."""

_LIMITS = (
    "max_body_bytes",
    "max_prompt_tokens",
    "max_output_tokens",
    "max_beams",
    "max_sequences",
    "max_queued",
    "request_seconds",
)

# What engines call otherwise than the APIs do.
_KNOWN_AS: Mapping[str, tuple[str, ...]] = {
    "prompt": ("prompt", "messages"),
    "max_new_tokens": ("max_new_tokens", "max_length", "max_tokens"),
    "min_new_tokens": ("min_new_tokens", "min_length", "min_tokens"),
    "n": ("n", "num_return_sequences", "best_of"),
    "stop": ("stop", "stop_strings"),
    "stop_token_ids": ("stop_token_ids", "eos_token_id", "ignore_eos"),
    "max_seconds": ("max_time",),
    "logprobs": ("logprobs", "output_scores"),
    "grammar": ("response_format",),
    "num_beams": ("num_beams", "use_beam_search"),
}

_REGION = re.compile(r"(<!-- generated: (\w+) -->\n).*?(?=<!-- end -->)", re.DOTALL)


def page(name: str, text: str) -> str:
    """A page with its generated parts made anew. Raises KeyError for a part that there is not."""
    path, models = PAGES.get(name, ("/chat", ()))
    explained: set[str] = set()
    parts = {model.__name__: arguments(model, explained) for model in models}
    parts |= {"refused": refused(models), "limits": limits(), "errors": errors(path)}
    parts |= {"mapped": of_vllm("what it is sent", MAPPED), "cannot": of_vllm("instead", REFUSED)}
    return _REGION.sub(lambda match: match[1] + parts[match[2]], text)


def arguments(model: type[BaseModel], explained: set[str]) -> str:
    """A table of a body's arguments, and one under a heading for each object within it.

    What the body has from one that it extends is left out, and so are objects that are `explained`.
    """
    tables = []
    for found in objects(model):
        if found.name not in explained:
            explained.add(found.name)
            heading = f"\n### `{found.path}`\n\n" if found.path else ""
            tables.append(heading + _arguments(found))
    return "".join(tables)


def _arguments(found: JSONObject) -> str:
    rows = []
    for name, field in found.properties.items():
        if advice(field) is None:
            what, _, default = field["description"].partition("Not given: ")
            accepted = values(field, found.inside(name))
            rows.append((f"`{name}`", accepted, default.removesuffix(".") or "required", what.strip()))
    return _table(("argument", "values", "not given", "what it does"), rows)


def refused(models: Iterable[type[BaseModel]]) -> str:
    """A table of the arguments that are refused unless they ask for nothing."""
    rows = {}
    for found in (each for model in models for each in objects(model)):
        for name, field in found.properties.items():
            instead = advice(field)
            if instead is not None:
                rows[found.inside(name)] = (f"`{found.inside(name)}`", values(field), instead)
    return _table(("argument", "accepted", "everything else is refused"), rows.values())


def of_vllm(head: str, found: Mapping[str, str]) -> str:
    """A table of the engine's arguments, by the names that clients know, and what becomes of each in vLLM."""
    rows = [
        (", ".join(f"`{known}`" for known in _KNOWN_AS.get(name, (name,))), text)
        for name, text in found.items()
    ]
    return _table(("argument", head), rows)


def limits() -> str:
    """A table of the settings that bound a request."""
    defaults = Settings(model="")
    rows = []
    for name in _LIMITS:
        default = getattr(defaults, name)
        rows.append((f"`{name}`", "none" if default is None else f"{default:,.0f}", OPTIONS[name][1]))
    return _table(("setting", "default", "what it bounds"), rows)


def errors(path: str) -> str:
    """How clients of a path are told what went wrong: an example, and a table of everything that can."""
    example = BerthError(ErrorKind.INVALID, "must be less than or equal to 1.", param="top_p")
    rows = sorted((status(BerthError(kind, ""), path), kind) for kind in ErrorKind)
    return f"```json\n{json.dumps(content(example, path))}\n```\n\n" + _table(
        ("status", "code", "when"), [(f"{code}", f"`{kind.value}`", MEANINGS[kind]) for code, kind in rows]
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m berth_inference.api_tables")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--write", type=Path, metavar="FOLDER", help="write them into the pages in FOLDER")
    target.add_argument(
        "--check", type=Path, metavar="FOLDER", help="exit 1 unless those in FOLDER are current"
    )
    options = parser.parse_args(arguments)
    current = True
    for name in WRITTEN:
        file = (options.write or options.check) / name
        before = file.read_text(encoding="utf-8")
        after = page(name, before)
        if options.write:
            file.write_text(after, encoding="utf-8")
        elif before != after:
            current = False
            sys.stderr.write(f"{file} is not current: run `make generate` and commit what it writes\n")
    return 0 if current else 1


if __name__ == "__main__":
    sys.exit(main())
