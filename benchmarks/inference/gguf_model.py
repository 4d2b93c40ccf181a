"""The weights of `model.py` as GGUF, number by number the same, for llama.cpp.

Runs in the interpreter that has llama.cpp's packages: needs `gguf` and numpy, and neither torch nor
transformers. `PYTHON -m benchmarks.inference.gguf_model FOLDER FILE`
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np

_TYPES = {
    "BF16": (np.dtype("<u2"), gguf.GGMLQuantizationType.BF16, gguf.LlamaFileType.MOSTLY_BF16),
    "F32": (np.dtype("<f4"), gguf.GGMLQuantizationType.F32, gguf.LlamaFileType.ALL_F32),
}
_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def convert(folder: Path, file: Path) -> None:
    """Write `file` from a folder that transformers' `save_pretrained` has written."""
    config = json.loads((folder / "config.json").read_text())
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    size = config["hidden_size"] // heads
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(size)
    writer.add_rope_freq_base((config.get("rope_parameters") or config)["rope_theta"])
    writer.add_vocab_size(config["vocab_size"])
    # Prompts come as token ids, so that the words are only what answers are told in.
    writer.add_tokenizer_model("llama")
    writer.add_token_list([f"\u2581w{token}" for token in range(config["vocab_size"])])
    writer.add_token_scores([0.0] * config["vocab_size"])
    writer.add_token_types([gguf.TokenType.NORMAL] * config["vocab_size"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_add_bos_token(False)
    for name, stored, values in _tensors(folder):
        _, kind, file_type = _TYPES[stored]
        target = _target(name)
        if ".attn_q." in target:
            values = _interleaved(values, heads)
        elif ".attn_k." in target:
            values = _interleaved(values, kv_heads)
        if values.ndim == 1:  # norms are few, and llama.cpp wants them in float32
            writer.add_tensor(target, _float32(values, stored))
        else:
            writer.add_file_type(file_type) if target == "token_embd.weight" else None
            writer.add_tensor(target, np.ascontiguousarray(values).view(np.uint8), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tensors(folder: Path) -> Iterator[tuple[str, str, Any]]:
    """Name, stored type and values of each tensor; bfloat16 as the 16 bits that it is."""
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(length))
        data = np.memmap(file, mode="r", offset=8 + length)
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            begin, end = entry["data_offsets"]
            yield (
                name,
                entry["dtype"],
                data[begin:end].view(_TYPES[entry["dtype"]][0]).reshape(entry["shape"]),
            )


def _target(name: str) -> str:
    """`model.layers.3.mlp.up_proj.weight` -> `blk.3.ffn_up.weight`."""
    stem, _, ending = name.rpartition(".")
    if stem.startswith("model.layers."):
        _, _, layer, part = stem.split(".", 3)
        return f"blk.{layer}.{_NAMES[part]}.{ending}"
    return f"{_NAMES[stem]}.{ending}"


def _interleaved(values: Any, heads: int) -> Any:
    """Rows in llama.cpp's order: it rotates neighbours, transformers the two halves of a head."""
    rows, columns = values.shape
    return values.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _float32(values: Any, stored: str) -> Any:
    if stored == "F32":
        return np.array(values)
    return (values.astype(np.uint32) << 16).view(np.float32)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
