"""tiny-chat as a server process, and what it answers to the question that the tests ask."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

QUESTION = "What is Kubernetes?"

NAME = "microsoft/Phi-3-mini-4k-instruct"
"""One of the names that some clients insist on."""


@dataclass(frozen=True)
class TinyChat:
    """Where it listens, and its greedy answer to the question by transformers' own pipeline."""

    url: str
    answer: str
    answer_tokens: int


def greedy_answer() -> tuple[str, int]:
    """The answer's text and its length in tokens, without the one that ends it."""
    import transformers

    from berth_inference.models import built_in_models

    folder: Path = built_in_models()["tiny-chat"]
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": QUESTION}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    output = model.generate(**prompt, max_new_tokens=200, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    text = tokenizer.decode(output, skip_special_tokens=True)
    return text, len(output) - 1
