"""Which files of a repository on the hub are a model's, and how far a download of them is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from berth_inference.hub.checksums import HubFile
from berth_inference.progress import LoadProgress

# Weights, tokenizer and configuration; never Python code, and never pickled weights, which can hold code.
WANTED = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken"]
# Second copies of the weights in the publisher's own layout, which transformers does not read.
UNWANTED = ["consolidated*", "*/*.safetensors", "original/*"]


def model_files(listed: Iterable[Any]) -> list[HubFile]:
    """The model's files among those that the hub's library lists of a repository."""
    from huggingface_hub import RepoFile
    from huggingface_hub.utils import filter_repo_objects  # type: ignore[attr-defined]  # without __all__

    files = [file for file in listed if isinstance(file, RepoFile)]
    wanted = filter_repo_objects(
        files, allow_patterns=WANTED, ignore_patterns=UNWANTED, key=lambda file: file.path
    )
    return [
        HubFile(file.path, file.size, file.lfs.sha256 if file.lfs else None, file.blob_id) for file in wanted
    ]


def progress_bar(progress: LoadProgress, total: int) -> type:
    """A progress bar class for the hub's library that draws nothing and counts bytes, of `total`."""
    from tqdm.std import tqdm  # type: ignore[import-untyped]

    class Bar(tqdm):  # type: ignore[misc]  # publishes no types
        """Reports the bars that count bytes; the one that counts files says less."""

        def display(self, *_: Any, **__: Any) -> bool:
            return False

        def update(self, n: float | None = 1) -> bool | None:
            moved: bool | None = super().update(n)
            if self.unit == "B":
                progress.moved(min(int(self.n), total), total)
            return moved

    return Bar
