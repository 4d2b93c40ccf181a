"""Random Llama-shaped models and a tokenizer whose every word is one token, made on the spot."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VOCABULARY = 32_000


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a Llama; `context` in tokens."""

    layers: int
    hidden: int
    inner: int
    heads: int
    kv_heads: int
    context: int = 2048

    @property
    def decoded(self) -> int:
        """Parameters that are read for every token: all but the input embeddings."""
        size = self.hidden // self.heads
        attention = 2 * self.hidden * self.hidden + 2 * self.hidden * self.kv_heads * size
        return self.layers * (attention + 3 * self.hidden * self.inner) + VOCABULARY * self.hidden


SHAPES = {
    # For trying the harness out, and for tests of the server under load: its figures say nothing.
    "tiny": Shape(layers=2, hidden=64, inner=128, heads=4, kv_heads=2, context=16_384),
    "112m": Shape(layers=10, hidden=768, inner=2048, heads=12, kv_heads=4),
    "1.1b": Shape(layers=22, hidden=2048, inner=5632, heads=32, kv_heads=4),
}


def make(name: str, dtype: str) -> Any:
    """A model of that shape in memory, the same each time."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    shape = SHAPES[name]
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=shape.context,
        tie_word_embeddings=False,
        eos_token_id=0,
        bos_token_id=0,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))


def save(name: str, folder: Path, dtype: str) -> Path:
    """Write a model of that shape to `folder`, unless it is there already."""
    if (folder / "tokenizer.json").is_file():
        return folder
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    # What was interrupted half-way is made anew: the name appears when all of it is there.
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    make(name, dtype).save_pretrained(unfinished)
    (unfinished / "generation_config.json").write_text(json.dumps({"eos_token_id": 0, "pad_token_id": 0}))
    words = Tokenizer(models.WordLevel({f"w{token}": token for token in range(VOCABULARY)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="w0", pad_token="w0", model_max_length=SHAPES[name].context
    )
    tokenizer.save_pretrained(unfinished)
    return unfinished.rename(folder)
