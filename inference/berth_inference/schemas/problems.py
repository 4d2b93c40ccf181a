"""From pydantic's findings to one sentence for the sender."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from berth_inference.errors import BerthError, ErrorKind
from berth_inference.schemas.chat import ChatRequest, GenerateKwargs
from berth_inference.schemas.chat_completions import ChatCompletionRequest
from berth_inference.schemas.completions import CompletionRequest
from berth_inference.schemas.generate import GenerateRequest
from berth_inference.schemas.tokens import DetokenizeRequest, TokenizeRequest

# Right in type but not in value: the sender chose wrongly (400) rather than built the JSON wrongly (422).
_WRONG_VALUE = frozenset(
    {
        "extra_forbidden",
        "finite_number",
        "greater_than",
        "greater_than_equal",
        "less_than",
        "less_than_equal",
        "literal_error",
        "refused",
        "string_too_long",
        "string_too_short",
        "too_long",
        "too_short",
        "value_error",
    }
)

# Arguments of transformers that a client might try, and why they are not on the list.
_NEVER = frozenset(
    {
        "assistant_model",
        "cache_config",
        "cache_implementation",
        "compile_config",
        "continuous_batching_config",
        "custom_generate",
        "generation_config",
        "logits_processor",
        "prefix_allowed_tokens_fn",
        "stopping_criteria",
        "streamer",
        "tokenizer",
        "tokenizer_encode_kwargs",
        "trust_remote_code",
    }
)

# What to do instead, where the bound alone does not say it.
_ADVICE = {
    ("generate_kwargs", "temperature"): "For the likeliest token at each step send do_sample false.",
    ("generate_kwargs", "top_k"): "0 switches it off.",
    ("generate_kwargs", "repetition_penalty"): "1 switches it off.",
    ("handle_long_generation",): "null refuses a prompt that is too long.",
}

_REQUESTS: Mapping[str, type[BaseModel]] = {
    "/chat": ChatRequest,
    "/v1/generate": GenerateRequest,
    "/v1/chat/completions": ChatCompletionRequest,
    "/v1/completions": CompletionRequest,
    "/tokenize": TokenizeRequest,
    "/detokenize": DetokenizeRequest,
}


def describe(problems: Sequence[Mapping[str, Any]], content_type: str | None, path: str) -> BerthError:
    """The most basic of the problems with a request for a path, as an error that names its field."""
    malformed = [problem for problem in problems if problem["type"] not in _WRONG_VALUE]
    problem = (malformed or problems)[0]
    kind = ErrorKind.MALFORMED if malformed else ErrorKind.INVALID
    where = tuple(str(part) for part in problem["loc"][1:])
    if problem["type"] == "json_invalid":
        said = problem.get("ctx", {}).get("error", "it does not parse")
        return BerthError(kind, f"The body is not valid JSON: {said}, at character {problem['loc'][-1]}.")
    if not where:
        if content_type is None or "json" not in content_type:
            return BerthError(kind, "The body must be JSON, with the header Content-Type: application/json.")
        return BerthError(kind, "The body must be a JSON object.")
    return BerthError(kind, _reason(problem, where, path), param=".".join(where)[:200])


def _known(path: str, where: tuple[str, ...]) -> list[str]:
    """The arguments that there are where an unknown one was sent."""
    if where == ("generate_kwargs",):
        return list(GenerateKwargs.model_fields)
    model = _REQUESTS.get(path)
    return list(model.model_fields) if model is not None and not where else []


def _reason(problem: Mapping[str, Any], where: tuple[str, ...], path: str) -> str:
    if problem["type"] == "extra_forbidden":
        name = where[-1]
        if name in _NEVER:
            return "is refused: it is the server's own business, because it can run code or change other requests."
        close = difflib.get_close_matches(name[:100], _known(path, where[:-1]), n=1)
        return f"is not an argument that this server knows{f'; did you mean {close[0]}?' if close else '.'}"
    message: str = problem["msg"]
    reason = message.replace("Input should be", "must be").replace("Field required", "is required")
    advice = _ADVICE.get(where)
    return " ".join(part for part in (f"{reason.rstrip('.')}.", advice) if part)
