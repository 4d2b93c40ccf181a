"""From a model's name to a folder on this machine that holds its weights, in safetensors only."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

from berth_inference.errors import LoadError
from berth_inference.hub.download import download
from berth_inference.hub.errors import no_safetensors
from berth_inference.models import built_in_models
from berth_inference.progress import LoadProgress, Phase

_log = logging.getLogger(__name__)

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def find_model(model: str, revision: str | None, progress: LoadProgress) -> Path:
    """The folder of a built-in name, of a local folder, or of a download. Raises `LoadError`."""
    progress.enter(Phase.RESOLVING)
    return _checked(known_folder(model, revision) or download(model, revision, progress), model)


def known_folder(model: str, revision: str | None) -> Path | None:
    """The folder of a built-in name, of a local folder, or of what was put right into the cache; None for the hub's.

    Raises `LoadError` for what is neither these nor an id of the hub.
    """
    folder = built_in_models().get(model) or Path(model).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise LoadError(
                f"--revision {revision} means nothing for {model}, which is not on the hub: leave it out"
            )
        return folder
    if model.startswith(("/", ".", "~")):
        raise LoadError(f"the folder {model} does not exist")
    if not _HUB_ID.fullmatch(model):
        known = ", ".join(built_in_models()) or "none"
        raise LoadError(
            f"{model!r} is no built-in model ({known}), no folder and no hub id (like owner/name)"
        )
    if (local := _laid_down()) is not None:
        _log.info("%s is taken from the files in %s, at whatever revision they are", model, local)
    return local


def _laid_down() -> Path | None:
    """The cache's own folder, if someone put a model's files right into it, as onto a node's disk."""
    home = os.environ.get("HF_HOME")
    return Path(home) if home and (Path(home) / "config.json").is_file() else None


def _checked(folder: Path, model: str) -> Path:
    if not (folder / "config.json").is_file():
        raise LoadError(f"{model} has no config.json: it is no transformers model")
    if not any(folder.glob("*.safetensors")):
        raise no_safetensors(model)
    return folder
