"""A model's tokenizer and configuration, without its weights."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from berth_inference.errors import LoadError
from berth_inference.hub.errors import explained
from berth_inference.hub.files import UNWANTED, WANTED
from berth_inference.hub.finding import known_folder
from berth_inference.hub.source import Hub, hub_of
from berth_inference.progress import LoadProgress, Phase

_log = logging.getLogger(__name__)

_SMALL = [pattern for pattern in WANTED if not pattern.endswith(".safetensors")]


def find_tokenizer(model: str, revision: str | None, progress: LoadProgress, hub: Hub | None = None) -> Path:
    """The folder of a built-in name, of a local folder, or of the hub's cache, into which it is brought if need be.

    Raises `LoadError`.
    """
    progress.enter(Phase.RESOLVING)
    folder = known_folder(model, revision) or _from_hub(model, revision, hub or hub_of(os.environ))
    if not (folder / "config.json").is_file():
        raise LoadError(f"{model} has no config.json: it is no transformers model")
    return folder


def _from_hub(model: str, revision: str | None, hub: Hub) -> Path:
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            model,
            revision=revision,
            cache_dir=hub.cache,
            endpoint=hub.endpoint,
            token=hub.token or False,
            local_files_only=hub.offline,
            allow_patterns=_SMALL,
            ignore_patterns=UNWANTED,
        )
    except Exception as error:
        _log.debug("the tokenizer could not be had", exc_info=True)
        raise explained(error, model, revision, has_token=hub.token is not None) from None
    return Path(folder)
