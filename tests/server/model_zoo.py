"""Small random models of the architectures that the engine has to get right."""

from __future__ import annotations

import os
import random
from typing import Any

VOCABULARY = 128
CONTEXT = 192
# Length at which the LongRoPE and dynamic models below change their position encoding.
ORIGINAL_CONTEXT = 48
WINDOW = 24
END = 2

# Where the models run: on a machine that has a GPU, the tests of the engine are true there, too.
DEVICE = os.environ.get("BERTH_TEST_DEVICE", "cpu")

_COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "initializer_range": 0.3,  # so that the likeliest token changes from step to step
    "bos_token_id": 1,
    "eos_token_id": END,
    "pad_token_id": 0,
    "tie_word_embeddings": False,
}


def _without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in _COMMON.items() if name not in names}


ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "phi3": ("phi3", {**_COMMON, "original_max_position_embeddings": CONTEXT}),
    "phi3-longrope": (
        "phi3",
        {
            **_COMMON,
            "original_max_position_embeddings": ORIGINAL_CONTEXT,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 10000.0,
                "short_factor": [1.0, 1.1, 1.2, 1.3],
                "long_factor": [2.0, 3.0, 5.0, 8.0],
                "original_max_position_embeddings": ORIGINAL_CONTEXT,
            },
        },
    ),
    "llama": ("llama", _COMMON),
    "llama-dynamic-rope": (
        "llama",
        {
            **_COMMON,
            "max_position_embeddings": ORIGINAL_CONTEXT,
            "rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0},
        },
    ),
    "mistral-sliding": ("mistral", {**_COMMON, "sliding_window": WINDOW}),
    "gemma2": ("gemma2", {**_COMMON, "head_dim": 8, "sliding_window": WINDOW, "query_pre_attn_scalar": 8}),
    "gemma": ("gemma", {**_COMMON, "head_dim": 8}),
    "qwen2": ("qwen2", _COMMON),
    "qwen3": ("qwen3", {**_COMMON, "head_dim": 8}),
    "gpt-neox": ("gpt_neox", _without("num_key_value_heads")),
    "falcon": (
        "falcon",
        {
            **_without("num_key_value_heads", "intermediate_size"),
            "new_decoder_architecture": False,
            "multi_query": True,
            "alibi": False,
        },
    ),
    "falcon-alibi": (
        "falcon",
        {**_without("num_key_value_heads", "intermediate_size"), "alibi": True, "multi_query": False},
    ),
    "bloom": (
        "bloom",
        {
            "vocab_size": VOCABULARY,
            "hidden_size": 32,
            "n_layer": 2,
            "n_head": 4,
            "initializer_range": 0.3,
            "bos_token_id": 1,
            "eos_token_id": END,
            "pad_token_id": 0,
        },
    ),
}


def make_model(name: str, dtype: str = "float32", **changes: Any) -> Any:
    """A model in memory, the same each time."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    kind, values = ARCHITECTURES[name]
    torch.manual_seed(11)
    config = AutoConfig.for_model(kind, **{**values, **changes})
    model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype)).eval().to(DEVICE)
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = None
    model.generation_config.bos_token_id = None
    return model


def make_varied_model(name: str, dtype: str, **changes: Any) -> Any:
    """One whose biases and norms are not what they begin as, so that none can be forgotten."""
    import torch

    model = make_model(name, dtype, **changes)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for values in model.parameters():
            if values.dim() == 1:
                values += torch.randn(values.shape, generator=generator).to(values.dtype) * 0.3
    return model


def pin(model: Any) -> None:
    """Weights that depend on nothing but their names, so that what a model says can be written down."""
    import torch

    for name, weights in model.named_parameters():
        if weights.dim() > 1:
            source = random.Random(name)
            values = [source.random() - 0.5 for _ in range(weights.numel())]
            weights.data = torch.tensor(values).reshape(weights.shape)


def make_pipeline(name: str, dtype: str = "float32") -> Any:
    """What an engine takes: a model, and a tokenizer whose every token is a word."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast, pipeline

    words = Tokenizer(models.WordLevel({f"w{token}": token for token in range(VOCABULARY)}, unk_token="w0"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=CONTEXT)
    return pipeline("text-generation", model=make_model(name, dtype), tokenizer=tokenizer, device=DEVICE)
