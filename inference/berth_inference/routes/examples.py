"""Examples on the OpenAPI page. Each is answered by every model with a chat template."""

from __future__ import annotations

from typing import Any

from fastapi.openapi.models import Example

_QUESTION = [{"role": "user", "content": "What is Kubernetes?"}]
_FOLLOW_UP = [
    *_QUESTION,
    {"role": "assistant", "content": "Kubernetes runs containers on a group of machines."},
    {"role": "user", "content": "What is a pod?"},
]
_SCHEMA = {
    "type": "object",
    "properties": {"topic": {"enum": ["pods", "nodes"]}, "certain": {"type": "boolean"}},
    "required": ["topic", "certain"],
    "additionalProperties": False,
}


def _examples(**bodies: tuple[str, dict[str, Any]]) -> dict[str, Example]:
    return {name: {"summary": summary, "value": body} for name, (summary, body) in bodies.items()}


CHAT = _examples(
    prompt=("A text to continue", {"prompt": "Kubernetes is", "generate_kwargs": {"max_new_tokens": 40}}),
    conversation=("A conversation", {"messages": _FOLLOW_UP, "generate_kwargs": {"max_new_tokens": 40}}),
    streaming=("The answer while it is made", {"messages": _QUESTION, "stream": True}),
    beams=(
        "Two answers of a beam search, with the scores of their tokens",
        {
            "prompt": "What is a pod?",
            "return_full_text": False,
            "generate_kwargs": {
                "num_beams": 4,
                "num_return_sequences": 2,
                "max_new_tokens": 20,
                "output_scores": True,
            },
        },
    ),
)

GENERATE = _examples(
    messages=("A conversation", {"messages": _FOLLOW_UP, "max_tokens": 40}),
    streaming=(
        "The text so far, while it is made",
        {"messages": _QUESTION, "max_tokens": 40, "stream": True},
    ),
    variables=(
        "A prompt with variables",
        {"prompt": "What is {thing}?", "input_variables": {"thing": "a pod"}, "max_tokens": 40},
    ),
    beams=(
        "The likelier of two beams",
        {
            "prompt": "What is a pod?",
            "use_beam_search": True,
            "best_of": 2,
            "temperature": 0,
            "max_tokens": 20,
        },
    ),
)

CHAT_COMPLETIONS = _examples(
    question=("A question", {"messages": _QUESTION, "max_completion_tokens": 40}),
    streaming=(
        "The answer while it is made, and its token counts",
        {
            "messages": _QUESTION,
            "max_completion_tokens": 40,
            "stream": True,
            "stream_options": {"include_usage": True},
        },
    ),
    schema=(
        "An answer within a JSON Schema",
        {
            "messages": _QUESTION,
            "max_completion_tokens": 60,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "about", "schema": _SCHEMA, "strict": True},
            },
        },
    ),
    logprobs=(
        "The likeliest answer, with the likeliest tokens at each position",
        {
            "messages": _QUESTION,
            "max_completion_tokens": 5,
            "temperature": 0,
            "logprobs": True,
            "top_logprobs": 2,
        },
    ),
)

COMPLETIONS = _examples(
    text=("A text to continue", {"prompt": "Kubernetes is", "max_tokens": 20, "temperature": 0}),
    streaming=("The text while it is made", {"prompt": "Kubernetes is", "max_tokens": 20, "stream": True}),
    several=(
        "Two texts, each continued up to the end of a sentence",
        {"prompt": ["A pod is", "A node is"], "max_tokens": 40, "stop": ["."], "seed": 1},
    ),
)

TOKENIZE = _examples(
    text=("A text", {"prompt": "What is a pod?"}),
    conversation=(
        "A conversation, and each token's text",
        {"messages": _QUESTION, "return_token_strs": True},
    ),
)

DETOKENIZE = _examples(
    several=("Several tokens", {"tokens": [10, 11, 12]}),
    one=("One token", {"tokens": [10]}),
)
