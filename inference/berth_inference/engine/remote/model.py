"""What is known of a model that vLLM serves: from vLLM's own card of it, and from the model's files."""

from __future__ import annotations

import json
import logging
from functools import partial
from pathlib import Path
from typing import Any

from berth_inference.engine.codec import TokenizerCodec
from berth_inference.engine.interface import ModelInfo
from berth_inference.engine.remote.arguments import check, of_publisher

_log = logging.getLogger(__name__)


def model_info(
    folder: Path, tokenizer: Any, codec: TokenizerCodec, *, names: tuple[str, ...], context: int, address: str
) -> ModelInfo:
    """`folder` holds the model's configuration; `context` is what vLLM was started with, in tokens.

    Raises ValueError and OSError for files that cannot be read.
    """
    config = _json(folder / "config.json")
    config = config.get("text_config", config)
    published = _json(folder / "generation_config.json")
    defaults, dropped = of_publisher({name: value for name, value in published.items() if value is not None})
    if dropped:
        _log.warning(
            "not applied, for vLLM cannot: %s of the model's generation_config.json", ", ".join(dropped)
        )
    end: int | None = tokenizer.eos_token_id
    stops = _tokens(published.get("eos_token_id", config.get("eos_token_id"))) or _tokens(end)
    pad = published.get("pad_token_id", tokenizer.pad_token_id)
    return ModelInfo(
        names=names,
        context_length=context,
        vocabulary=config.get("vocab_size", len(tokenizer)),
        stop_token_ids=stops,
        pad_token_id=pad if pad is not None else (stops[0] if stops else None),
        has_chat_template=tokenizer.chat_template is not None,
        dtype="vLLM's number type",
        device=address,
        defaults=defaults,
        tool_format=codec.tool_format,
        check=partial(check, stops=stops, end=end),
    )


def _json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def _tokens(value: Any) -> tuple[int, ...]:
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list) else (value,)
