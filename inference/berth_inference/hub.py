"""From a model's name to a folder on this machine that holds its weights, in safetensors only."""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import Any

from berth_inference.errors import LoadError, LoadFailure
from berth_inference.models import built_in_models
from berth_inference.progress import LoadProgress, Phase

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")

# Weights, tokenizer and configuration; never Python code, and never pickled weights, which can hold code.
_WANTED = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken"]
# Second copies of the weights in the publisher's own layout, which transformers does not read.
_UNWANTED = ["consolidated*", "*/*.safetensors", "original/*"]


def find_model(model: str, revision: str | None, progress: LoadProgress) -> Path:
    """The folder of a built-in name, of a local folder, or of a download. Raises `LoadError`."""
    progress.enter(Phase.RESOLVING)
    built_in = built_in_models().get(model)
    folder = built_in or Path(model).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise LoadError(
                f"--revision {revision} means nothing for {model}, which is not on the hub: leave it out"
            )
        return _checked(folder, model)
    if model.startswith(("/", ".", "~")):
        raise LoadError(f"the folder {model} does not exist")
    if not _HUB_ID.fullmatch(model):
        known = ", ".join(built_in_models()) or "none"
        raise LoadError(
            f"{model!r} is no built-in model ({known}), no folder and no hub id (like owner/name)"
        )
    return _checked(_download(model, revision, progress), model)


def _checked(folder: Path, model: str) -> Path:
    if not (folder / "config.json").is_file():
        raise LoadError(f"{model} has no config.json: it is no transformers model")
    if not any(folder.glob("*.safetensors")):
        raise LoadError(
            f"{model} has no weights in safetensors, the only format served, since others can run code when "
            "read: save it with save_pretrained of a current transformers"
        )
    return folder


def _download(model: str, revision: str | None, progress: LoadProgress) -> Path:
    # Late, like every slow import: health checks are answered while it runs.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    progress.enter(Phase.DOWNLOADING)
    at = f" at revision {revision}" if revision else ""
    try:
        folder = snapshot_download(
            model,
            revision=revision,
            allow_patterns=_WANTED,
            ignore_patterns=_UNWANTED,
            tqdm_class=_progress_bar(progress),
        )
    except GatedRepoError:
        raise LoadError(
            f"{model} is gated: accept its licence on the hub and give a token that may read it as HF_TOKEN",
            LoadFailure.ACCESS_DENIED,
        ) from None
    except RevisionNotFoundError:
        raise LoadError(f"{model} has no revision {revision} on the hub") from None
    except RepositoryNotFoundError:
        raise LoadError(
            f"{model} is not on the hub, or is private and HF_TOKEN is missing or may not read it"
        ) from None
    except LocalEntryNotFoundError:
        raise LoadError(
            f"{model}{at} is not in the cache and the hub cannot be reached: check the network and HF_ENDPOINT, "
            "or serve a folder"
        ) from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no"
        raise LoadError(
            f"the hub answered {status} for {model}{at}: try again, or check HF_TOKEN",
            LoadFailure.ACCESS_DENIED if status in (401, 403) else LoadFailure.MODEL_UNAVAILABLE,
        ) from None
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise LoadError(
                f"no space left for the weights of {model}: give the cache volume more", LoadFailure.DISK_FULL
            ) from None
        raise LoadError(f"the download of {model}{at} failed: {type(error).__name__}") from None
    return Path(folder)


def _progress_bar(progress: LoadProgress) -> type:
    """A progress bar class for the hub's library that draws nothing and counts bytes."""
    from tqdm.std import tqdm  # type: ignore[import-untyped]

    class Bar(tqdm):  # type: ignore[misc]  # publishes no types
        """Reports the bars that count bytes; the one that counts files says less."""

        def display(self, *_: Any, **__: Any) -> bool:
            return False

        def update(self, n: float | None = 1) -> bool | None:
            moved: bool | None = super().update(n)
            if self.unit == "B" and self.total:
                progress.moved(int(self.n), int(self.total))
            return moved

    return Bar
