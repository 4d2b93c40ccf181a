"""POST /chat: from its arguments to the engine's request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from berth_inference.dialects.chat_sampling import sampling_params
from berth_inference.dialects.text import check_text
from berth_inference.engine.admission import Limits, admit, check_prompt
from berth_inference.engine.interface import ModelInfo
from berth_inference.engine.request import GenerationRequest
from berth_inference.errors import BerthError, invalid
from berth_inference.schemas.chat import ChatRequest, GenerateKwargs

_T = TypeVar("_T")

# New tokens of a request that sets no limit: the length that the API has always documented, counted
# without the prompt, so that a long prompt is not a failure.
DEFAULT_NEW_TOKENS = 200

_NAMES = {
    "prompt": "prompt",
    "max_new_tokens": "generate_kwargs.max_length",
    "min_new_tokens": "generate_kwargs.min_length",
    "n": "generate_kwargs.num_return_sequences",
    "stop_token_ids": "generate_kwargs.eos_token_id",
    **{
        name: f"generate_kwargs.{name}"
        for name in (
            "num_beams",
            "num_beam_groups",
            "diversity_penalty",
            "bad_words_ids",
            "forced_bos_token_id",
            "forced_eos_token_id",
            "pad_token_id",
            "do_sample",
            "early_stopping",
            "temperature",
            "top_p",
            "typical_p",
            "repetition_penalty",
            "no_repeat_ngram_size",
            "encoder_no_repeat_ngram_size",
            "remove_invalid_values",
        )
    },
    "stop": "generate_kwargs.stop_strings",
    "max_seconds": "generate_kwargs.max_time",
    "logprobs": "generate_kwargs.output_scores",
}


def check_source(body: ChatRequest) -> None:
    """Exactly one of prompt and messages, with only the arguments that go with it. Raises `BerthError`."""
    if body.prompt and body.messages:
        raise invalid(None, "prompt and messages exclude each other: send one of them.")
    if not body.prompt and not body.messages:
        raise invalid(None, "Send a prompt (text to continue) or messages (a conversation).")
    if body.stream and body.clean_up_tokenization_spaces:
        raise invalid(
            "clean_up_tokenization_spaces", "cannot go with stream: it changes text that was sent already."
        )
    if body.messages and body.prefix:
        raise invalid("prefix", "goes with prompt; with messages, send a system message instead.")
    check_text(body.prompt or "", "prompt")
    check_text(body.prefix or "", "prefix")
    for turn in body.messages or ():
        check_text(turn.content, "messages")


def to_request(
    body: ChatRequest, prompt: Sequence[int], prefix_tokens: int, info: ModelInfo, limits: Limits
) -> GenerationRequest:
    """The engine's request. `prompt` includes the prefix, whose length no limit counts.

    Raises an INVALID `BerthError` in the names of this API.
    """
    arguments = body.generate_kwargs or GenerateKwargs()
    try:
        prompt, new_tokens = _lengths(body, arguments, list(prompt), prefix_tokens, info, limits)
        request = GenerationRequest(
            prompt=tuple(prompt),
            max_new_tokens=new_tokens,
            min_new_tokens=_min_new_tokens(arguments, len(prompt) - prefix_tokens),
            n=_first(arguments.num_return_sequences, 1),
            sampling=sampling_params(arguments, info),
            stop=arguments.stop_strings or (),
            stop_token_ids=_first(arguments.eos_token_id, info.stop_token_ids),
            pad_token_id=_first(arguments.pad_token_id, info.pad_token_id),
            seed=body.seed,
            max_seconds=arguments.max_time,
            logprobs=bool(arguments.output_scores),
        )
        admit(request, info, limits)
    except BerthError as error:
        names = dict(_NAMES)
        if body.messages:
            names["prompt"] = "messages"
        if arguments.max_new_tokens is not None:
            names["max_new_tokens"] = "generate_kwargs.max_new_tokens"
        if arguments.min_new_tokens is not None:
            names["min_new_tokens"] = "generate_kwargs.min_new_tokens"
        raise error.renamed(names) from None
    return request


def _first(value: _T | None, default: _T) -> _T:
    return default if value is None else value


def _lengths(
    body: ChatRequest,
    arguments: GenerateKwargs,
    prompt: list[int],
    prefix_tokens: int,
    info: ModelInfo,
    limits: Limits,
) -> tuple[list[int], int]:
    """The prompt, cut where `hole` asks for it, and how many new tokens are allowed."""
    context = info.context_length
    if body.handle_long_generation == "hole":
        wanted = arguments.max_new_tokens
        if wanted is None and arguments.max_length is not None:
            wanted = min(arguments.max_length, context) - (len(prompt) - prefix_tokens)
            if wanted < 1 and len(prompt) < context:
                raise _no_room(len(prompt) - prefix_tokens, arguments.max_length)
            if wanted < 1:
                raise invalid(
                    "generate_kwargs.max_length",
                    'counts the prompt, which is longer; with handle_long_generation "hole", say with '
                    "max_new_tokens how long the answer may be.",
                )
        wanted = _first(wanted, min(DEFAULT_NEW_TOKENS, limits.max_output_tokens, context // 2))
        if wanted >= context:
            raise invalid(
                "max_new_tokens", f"leaves no room for a prompt in the context of {context} tokens."
            )
        return prompt[-(context - wanted) :], wanted
    check_prompt(len(prompt), info, limits)
    room = context - len(prompt)
    if arguments.max_new_tokens is not None:
        return prompt, min(arguments.max_new_tokens, room)
    if arguments.max_length is not None:
        wanted = arguments.max_length - (len(prompt) - prefix_tokens)
        if wanted < 1:
            raise _no_room(len(prompt) - prefix_tokens, arguments.max_length)
        return prompt, min(wanted, room)
    return prompt, min(DEFAULT_NEW_TOKENS, limits.max_output_tokens, room)


def _no_room(prompt: int, max_length: int) -> BerthError:
    return invalid(
        "generate_kwargs.max_length",
        f"is {max_length} and counts the prompt, which has {prompt} tokens already: raise it, or send "
        "max_new_tokens, which does not count the prompt.",
    )


def _min_new_tokens(arguments: GenerateKwargs, prompt: int) -> int:
    if arguments.min_new_tokens is not None:
        return arguments.min_new_tokens
    return max(0, _first(arguments.min_length, 0) - prompt)
