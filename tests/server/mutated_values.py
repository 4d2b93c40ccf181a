"""Values that requests should not hold, and such as are at or just past what an argument may be."""

from __future__ import annotations

from typing import Any

from server.limited_server import LAST_TOKEN, MOST_SEQUENCES, MOST_TOKENS, NAME

ODD_TEXTS = (
    "",
    " ",
    "\x00",
    "a\x00b",
    "\ud800",
    "\udfff\ud800",
    "\ufffe",
    "ä" * 70,
    "模型",
    "🚢" * 50,
    "\u202eevil",
    "e\u0301" * 40,
    "a" * 600,
    "x " * 20_000,
    "../../etc/passwd",
    "{{ messages }}{% for a in b %}",
    "{prompt}",
    "<|endoftext|><|user|><|end|>",
    "data: [DONE]\n\n",
    "null",
    "true",
    "-1",
    "1e309",
    NAME.upper(),
)

ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1.5,
    3.0,
    1e300,
    -1e-300,
    2**31,
    2**63,
    -(2**63) - 1,
    10**30,
    10**400,
    [],
    [None],
    [[]],
    [True],
    [1, "a"],
    {},
    {"": ""},
    {"a": {"b": {"c": []}}},
    {"role": "user", "content": "x"},
    "text",
    "true",
    *ODD_TEXTS[:7],
)

LITERALS = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e400",
    "-1e400",
    "-0",
    "-0.0",
    "1E5",
    "9" * 400,
    "0.1" + "0" * 400 + "1",
)
"""What json.dumps does not write, and some of it no JSON."""

_PROBABILITY = (-0.0001, 0, 1e-300, 0.5, 1, 1.0001)
_PENALTY = (-2.01, -2, 2, 2.01)
_LENGTH = (-1, 0, 1, MOST_TOKENS, MOST_TOKENS + 1, 255, 256, 2**31, 2**63, 3.0)
_COUNT = (-1, 0, 1, MOST_SEQUENCES, MOST_SEQUENCES + 1, 2**31, 2.0)
_FEW = (-1, 0, 1, 20, 21)
_SIZE = (-1, 0, 1, 3, 2**31, 2**63)
_TOKEN = (-1, 0, 3, LAST_TOKEN, LAST_TOKEN + 1, 2**31, 2**63, [], [0, LAST_TOKEN], [2**31])

BOUNDS: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("top_p", "min_p", "typical_p"), _PROBABILITY),
    **dict.fromkeys(("presence_penalty", "frequency_penalty"), _PENALTY),
    **dict.fromkeys(("max_tokens", "max_completion_tokens", "max_new_tokens", "max_length"), _LENGTH),
    **dict.fromkeys(("min_tokens", "min_new_tokens", "min_length"), _LENGTH),
    **dict.fromkeys(("n", "best_of", "num_beams", "num_beam_groups", "num_return_sequences"), _COUNT),
    **dict.fromkeys(("logprobs", "top_logprobs"), _FEW),
    **dict.fromkeys(("no_repeat_ngram_size", "encoder_no_repeat_ngram_size"), _SIZE),
    **dict.fromkeys(("eos_token_id", "pad_token_id", "forced_bos_token_id", "forced_eos_token_id"), _TOKEN),
    "stop_token_ids": ([0], [LAST_TOKEN], [LAST_TOKEN + 1], [2**63], [1] * 256, [1] * 257),
    "tokens": ([], [0], [LAST_TOKEN], [LAST_TOKEN + 1], [2**31], [2**63], [-1], [1] * 20_000),
    "bad_words_ids": (
        [],
        [[]],
        [[0]],
        [[LAST_TOKEN]],
        [[LAST_TOKEN + 1]],
        [[token] for token in range(LAST_TOKEN + 1)],
        [[1]] * 1025,
    ),
    "temperature": (-0.001, 0, 1e-9, 0.0009, 0.001, 100, 100.1),
    "top_k": (-2, -1, 0, 1, LAST_TOKEN, LAST_TOKEN + 1, 2**31, 2**63, 10**30),
    "repetition_penalty": (0, 0.009, 0.01, 100, 101),
    "length_penalty": (-10.1, -10, 0, 10, 10.1),
    "diversity_penalty": (-0.1, 0, 100, 100.1),
    "early_stopping": (True, False, "never", "Never", 1),
    "seed": (-(2**63) - 1, -(2**63), -1, 0, 2**63 - 1, 2**63),
    "max_time": (0, 1e-300, 0.0001, 1e300),
    "stop": ("", "x", "x" * 200, "x" * 201, [], ["x"] * 16, ["x"] * 17, [""]),
    "stop_strings": ([], ["x"] * 16, ["x"] * 17, [""], ["\ud800"], "x"),
    "logit_bias": (
        {},
        {"0": 100},
        {"0": 100.1},
        {f"{LAST_TOKEN}": -100},
        {f"{LAST_TOKEN + 1}": 0},
        {"999999999": 1},
        {"-1": 1},
        {"a": 1},
    ),
    "model": (NAME, NAME + " ", "", "x" * 512, "x" * 513),
    "prompt": (
        "",
        [],
        [0],
        [LAST_TOKEN],
        [LAST_TOKEN + 1],
        [2**31],
        [[]],
        [[0], [LAST_TOKEN + 1]],
        ["", "a"],
        "sheep " * 300,
        ["a"] * 40,
    ),
    "response_format": (
        {"type": "json_schema"},
        {"type": "json_schema", "json_schema": {"schema": {}}},
        {"type": "json_schema", "json_schema": {"schema": {"type": "nothing"}}},
        {"type": "json_schema", "json_schema": {"schema": {"$ref": "#"}}},
        {"type": "json_schema", "json_schema": {"schema": {"pattern": "(" * 500}}},
        {"type": "json_schema", "json_schema": {"schema": {"enum": ["\ud800"]}}},
        {"type": "json_schema", "json_schema": {"schema": {"type": "string", "pattern": "a{1000000}"}}},
        {"type": "text"},
    ),
    "tools": ([], [{"type": "function", "function": {"name": "a"}}], [{"type": "function"}], [None]),
    "stream_options": ({}, {"include_usage": True}, {"include_usage": 1}, None),
    "handle_long_generation": ("hole", "cut", ""),
    "use_beam_search": (True, False, 1),
    "echo": (True, 1),
}
"""By the names of arguments, which not every route knows."""
