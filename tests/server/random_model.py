"""A tiny Phi-3 with random weights and a tokenizer of its own, written to disk in a tenth of a second."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CONTEXT = 256

END_OF_TEXT, USER, ASSISTANT, END = range(4)

# Phi-3's own template in short. Like many models' it refuses a system message.
TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{ raise_exception('no system role') }}"
    "{% else %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)

TEXT = """Kubernetes runs containers on many machines. A Workspace names a preset, and the operator
makes a Deployment and a Service from it. How to explain Internet for a medieval knight? What is the
meaning of life? YOUR_PROMPT_HERE. The quick brown fox jumps over the lazy dog, and 0123456789 sheep.
"""


def save_model(
    folder: Path,
    *,
    context: int = CONTEXT,
    template: str | None = TEMPLATE,
    published: dict[str, Any] | None = None,
) -> Path:
    """Weights, tokenizer and configuration in `folder`; `published` goes into generation_config.json."""
    import torch
    from transformers import Phi3Config, Phi3ForCausalLM

    vocabulary = _save_tokenizer(folder, template)
    torch.manual_seed(7)
    config = Phi3Config(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        original_max_position_embeddings=context,
        pad_token_id=END_OF_TEXT,
        bos_token_id=END_OF_TEXT,
        eos_token_id=END_OF_TEXT,
        initializer_range=0.3,  # so that the likeliest token changes from step to step
    )
    Phi3ForCausalLM(config).eval().save_pretrained(folder)
    generation = {"eos_token_id": [END_OF_TEXT, END], "pad_token_id": END_OF_TEXT, **(published or {})}
    (folder / "generation_config.json").write_text(json.dumps(generation))
    return folder


def _save_tokenizer(folder: Path, template: str | None) -> int:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=special[1:],
        chat_template=template,
        model_max_length=CONTEXT,
    )
    fast.save_pretrained(folder)
    return len(fast)
