"""OpenAI's requests: from their arguments to the engine's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from berth_inference.dialects.sampling import BEAM_ARGUMENTS, MIN_TEMPERATURE, publisher_sampling
from berth_inference.dialects.text import check_text
from berth_inference.engine.admission import Limits, admit, check_prompt
from berth_inference.engine.grammar import Grammar
from berth_inference.engine.interface import ChatMessage, ModelInfo
from berth_inference.engine.request import GenerationRequest, SamplingParams
from berth_inference.errors import BerthError, invalid
from berth_inference.schemas.chat_completions import ChatCompletionMessage, ChatCompletionRequest
from berth_inference.schemas.completions import CompletionRequest
from berth_inference.schemas.openai import OpenAIRequest

DEFAULT_COMPLETION_TOKENS = 16
"""OpenAI's documented default for /v1/completions."""

_NAMES = {"min_new_tokens": "min_tokens", "max_new_tokens": "max_tokens"}

# Arguments of the API that sampling takes by the same name.
_SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
)


def turns(messages: Sequence[ChatCompletionMessage]) -> list[ChatMessage]:
    """The conversation. Raises an INVALID `BerthError` for a turn that lacks what its role needs."""
    return [_turn(message, f"messages.{index}") for index, message in enumerate(messages)]


def _turn(message: ChatCompletionMessage, param: str) -> ChatMessage:
    check_text(message.content or "", "messages")
    if message.content is None and not message.tool_calls:
        raise invalid(f"{param}.content", "is required.")
    turn: ChatMessage = {
        "role": "system" if message.role == "developer" else message.role,
        "content": message.content or "",
    }
    if message.tool_calls is not None:
        if message.role != "assistant":
            raise invalid(f"{param}.tool_calls", "goes with the role assistant only.")
        turn["tool_calls"] = [call.model_dump() for call in message.tool_calls]
    if (message.role == "tool") != (message.tool_call_id is not None):
        raise invalid(f"{param}.tool_call_id", "goes with the role tool, which needs it.")
    if message.tool_call_id is not None:
        turn["tool_call_id"] = message.tool_call_id
    return turn


def tools(body: ChatCompletionRequest) -> list[dict[str, Any]]:
    """The tools on offer, in the API's form, as chat templates take them."""
    if body.tool_choice == "none":
        return []
    return [tool.model_dump(exclude_none=True) for tool in body.tools or ()]


def grammar(body: ChatCompletionRequest) -> Grammar | None:
    """What the answer is held to. Raises an INVALID `BerthError`."""
    form = body.response_format
    if form is None or form.type == "text":
        return None
    if form.type == "json_object":
        return Grammar.json_object()
    if form.json_schema is None:
        raise invalid("response_format.json_schema", "is required with the type json_schema.")
    return Grammar.json_schema(form.json_schema.json_schema)


def chat_request(
    body: ChatCompletionRequest, prompt: Sequence[int], info: ModelInfo, limits: Limits
) -> GenerationRequest:
    """The engine's request. Raises an INVALID `BerthError` in the names of this API."""
    if body.max_tokens and body.max_completion_tokens and body.max_tokens != body.max_completion_tokens:
        raise invalid(
            "max_tokens", "is the older name of max_completion_tokens, which says another number: send one."
        )
    if body.top_logprobs and not body.logprobs:
        raise invalid("top_logprobs", "needs logprobs true.")
    wanted = body.max_completion_tokens or body.max_tokens
    names = {**_NAMES, "prompt": "messages"}
    if body.max_completion_tokens:
        names["max_new_tokens"] = "max_completion_tokens"
    try:
        check_prompt(len(prompt), info, limits)
        room = info.context_length - len(prompt)
        return _request(
            body,
            prompt,
            info,
            limits,
            max_new_tokens=wanted or min(room, limits.max_output_tokens),
            n=body.n or 1,
            logprobs=bool(body.logprobs),
            top_logprobs=body.top_logprobs or 0,
            grammar=grammar(body),
        )
    except BerthError as error:
        raise error.renamed(names) from None


def check_rows(body: CompletionRequest, limits: Limits) -> None:
    """Several prompts together are held to what one request may ask for. Raises an INVALID `BerthError`."""
    rows = len(body.prompt) * (body.best_of or body.n or 1)
    if len(body.prompt) > 1 and rows > limits.max_sequences:
        raise invalid(
            "prompt",
            f"and n ask for {rows} answers together; this server allows at most {limits.max_sequences}. "
            "Send fewer prompts at a time.",
        )


def completion_request(
    body: CompletionRequest, prompt: Sequence[int], info: ModelInfo, limits: Limits
) -> GenerationRequest:
    """The engine's request for one of the prompts. Raises an INVALID `BerthError` in the names of this API."""
    best_of = body.best_of or body.n or 1
    if best_of < (body.n or 1):
        raise invalid("best_of", f"is {best_of}, but n asks for {body.n}: make best_of at least n.")
    if body.stream and best_of > (body.n or 1):
        raise invalid(
            "best_of", "cannot be streamed: which answers are the best is known when all are complete."
        )
    if body.echo and body.logprobs is not None:
        raise invalid("logprobs", "cannot go with echo: the prompt's own tokens are not scored.")
    try:
        check_prompt(len(prompt), info, limits)
        room = info.context_length - len(prompt)
        return _request(
            body,
            prompt,
            info,
            limits,
            max_new_tokens=body.max_tokens or min(room, limits.max_output_tokens, DEFAULT_COMPLETION_TOKENS),
            n=best_of,
            logprobs=body.logprobs is not None or best_of > (body.n or 1),
            top_logprobs=body.logprobs or 0,
        )
    except BerthError as error:
        raise error.renamed({**_NAMES, "n": "best_of" if body.best_of else "n"}) from None


def _request(
    body: OpenAIRequest, prompt: Sequence[int], info: ModelInfo, limits: Limits, **arguments: Any
) -> GenerationRequest:
    if body.stream_options is not None and not body.stream:
        raise invalid("stream_options", "goes with stream true only.")
    sampling = _sampling(body, info, several=arguments["n"] > 1)
    if arguments["n"] > 1 and not sampling.do_sample:
        raise invalid("n", "must be 1 with temperature 0, which has one result: raise temperature.")
    stops = () if body.ignore_eos else info.stop_token_ids
    request = GenerationRequest(
        prompt=tuple(prompt),
        min_new_tokens=body.min_tokens or 0,
        sampling=sampling,
        stop=body.stop or (),
        stop_token_ids=(*stops, *(body.stop_token_ids or ())),
        pad_token_id=info.pad_token_id,
        seed=body.seed,
        **arguments,
    )
    admit(request, info, limits)
    return request


def _sampling(body: OpenAIRequest, info: ModelInfo, *, several: bool) -> SamplingParams:
    """The request's arguments, then the publisher's, then OpenAI's: sampling at temperature 1."""
    # Beams are no argument of this API.
    publisher = {
        name: value for name, value in publisher_sampling(info).items() if name not in BEAM_ARGUMENTS
    }
    given = {name: value for name in _SAMPLING if (value := getattr(body, name)) is not None}
    values: dict[str, Any] = {"do_sample": True, **publisher, **given}
    if body.temperature is not None:
        values["do_sample"] = body.temperature > 0
    elif several or given.keys() & {"top_p", "top_k", "min_p"}:
        values["do_sample"] = True
    values["top_k"] = max(0, values.get("top_k", 0))
    if not values["do_sample"]:
        values["temperature"] = 1.0
    elif values.get("temperature", 1.0) < MIN_TEMPERATURE:
        raise invalid("temperature", f"must be 0, for the likeliest token, or at least {MIN_TEMPERATURE}.")
    return SamplingParams(**values)
