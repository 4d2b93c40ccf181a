"""A model's weights, from the hub into the hub library's own cache: whole, checked, and once for all who share it.

The library resumes a connection that was cut, moves each file into place whole, and takes the mirror and proxies from
the environment. Added here are checksums, a lease that holds on network volumes, a look at the space before the first
byte, the removal of what killed downloads left, and errors with remedies.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from pathlib import Path

from berth_inference.errors import LoadError
from berth_inference.hub.checksums import (
    HubFile,
    is_known_intact,
    named_by_its_blob,
    remember,
    remove,
    wrong_files,
)
from berth_inference.hub.errors import (
    NOT_WRITABLE,
    damaged,
    explained,
    no_safetensors,
    no_space,
    not_writable,
)
from berth_inference.hub.files import UNWANTED, WANTED, model_files, progress_bar
from berth_inference.hub.lease import lease
from berth_inference.hub.source import Hub, hub_of
from berth_inference.progress import LoadProgress, Phase

_log = logging.getLogger(__name__)

_COMMIT = re.compile(r"[0-9a-f]{40}")

# A file that is wrong twice was not damaged by chance.
_ATTEMPTS = 2


def download(model: str, revision: str | None, progress: LoadProgress, hub: Hub | None = None) -> Path:
    """The folder of a model of the hub, whose files are downloaded unless they are there. Raises `LoadError`.

    Weights at a commit that are known to be intact are taken without asking the hub.
    """
    hub = hub or hub_of(os.environ)
    try:
        if hub.offline:
            return _in_cache(model, revision, hub)
        return _Download(model, revision, progress, hub).folder()
    except LoadError:
        raise
    except Exception as error:
        _log.debug("the download failed", exc_info=True)
        raise explained(error, model, revision, has_token=hub.token is not None) from None


def _in_cache(model: str, revision: str | None, hub: Hub) -> Path:
    """What the cache has, whole as far as it can tell. Raises the library's LocalEntryNotFoundError."""
    from huggingface_hub import snapshot_download

    folder = snapshot_download(
        model,
        revision=revision,
        cache_dir=hub.cache,
        local_files_only=True,
        allow_patterns=WANTED,
        ignore_patterns=UNWANTED,
    )
    return Path(folder)


class _Download:
    """One model's way into the cache."""

    def __init__(self, model: str, revision: str | None, progress: LoadProgress, hub: Hub) -> None:
        self._model, self._revision, self._progress, self._hub = model, revision, progress, hub
        self._repository = hub.cache / f"models--{model.replace('/', '--')}"

    def folder(self) -> Path:
        """The model's folder. Raises LoadError, and whatever the library raises."""
        if (done := self._pinned()) is not None:
            return done
        try:
            with lease(self._repository, self._progress):
                _remove_leftovers(self._repository)
                return self._ask_the_hub()
        except OSError as error:
            # Who was stopped for so long that its lease was lost finds its files gone, and those of another there.
            if (done := self._pinned()) is not None:
                return done
            if error.errno not in NOT_WRITABLE:
                raise
        return self._kept(not_writable(self._hub.cache))

    def _pinned(self) -> Path | None:
        """The folder of a commit that is known to be intact."""
        commit = self._revision or ""
        if not _COMMIT.fullmatch(commit) or not is_known_intact(self._repository, commit):
            return None
        return self._repository / "snapshots" / commit

    def _ask_the_hub(self) -> Path:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import RevisionNotFoundError

        self._progress.enter(Phase.RESOLVING)
        api = HfApi(endpoint=self._hub.endpoint, token=self._hub.token or False)
        try:
            resolved = api.resolve_revision(self._model, revision=self._revision, cache_dir=self._hub.cache)
            if is_known_intact(self._repository, resolved.resolved):
                return self._repository / "snapshots" / resolved.resolved
            files = model_files(api.list_repo_tree(self._model, recursive=True, revision=resolved.resolved))
        except RevisionNotFoundError:
            raise
        except Exception as error:
            return self._kept(error)
        if not any(file.path.endswith(".safetensors") for file in files):
            raise no_safetensors(self._model)
        return self._fetch(resolved, resolved.resolved, files)

    def _fetch(self, resolved: str, commit: str, files: list[HubFile]) -> Path:
        from huggingface_hub import snapshot_download

        folder = self._repository / "snapshots" / commit
        for _ in range(_ATTEMPTS):
            needed = sum(file.size for file in files if not (folder / file.path).is_file())
            free = shutil.disk_usage(self._repository).free
            # Before the first byte: what fails at its end has wasted an hour.
            if needed > free:
                raise no_space(self._model, needed, free)
            self._progress.enter(Phase.DOWNLOADING)
            snapshot_download(
                self._model,
                revision=resolved,
                cache_dir=self._hub.cache,
                endpoint=self._hub.endpoint,
                token=self._hub.token or False,
                allow_patterns=WANTED,
                ignore_patterns=UNWANTED,
                tqdm_class=progress_bar(self._progress, needed),
            )
            self._progress.enter(Phase.VERIFYING)
            wrong = wrong_files(folder, files, self._progress.moved)
            if not wrong:
                remember(self._repository, commit, files)
                _log.info("%s at commit %s is whole and intact", self._model, commit)
                return folder
            _log.warning("removed for a wrong checksum: %s", ", ".join(file.path for file in wrong))
            remove(folder, wrong)
        raise damaged(self._model, [file.path for file in wrong])

    def _kept(self, obstacle: Exception) -> Path:
        """What the cache has, if all of it is there and intact; else raise what keeps it from being completed."""
        from huggingface_hub import get_cached_repo_tree
        from huggingface_hub.errors import CachedRepoTreeNotFoundError, LocalEntryNotFoundError

        try:
            folder = _in_cache(self._model, self._revision, self._hub)
            listed = get_cached_repo_tree(self._model, revision=folder.name, cache_dir=self._hub.cache)
        except LocalEntryNotFoundError:
            raise obstacle from obstacle.__cause__
        except CachedRepoTreeNotFoundError:
            _log.warning("what is in %s is taken unchecked (%s)", folder, type(obstacle).__name__)
            return folder
        self._progress.enter(Phase.VERIFYING)
        files = [named_by_its_blob(folder, file) for file in model_files(listed)]
        if wrong_files(folder, files, self._progress.moved):
            raise obstacle
        _log.warning("what is in %s is taken, for the hub did not help (%s)", folder, type(obstacle).__name__)
        return folder


def _remove_leftovers(repository: Path) -> None:
    """Remove what downloads that were killed left: parts of files, and locks that nobody will release."""
    locks = repository.parent / ".locks" / repository.name
    for leftover in (*repository.glob("blobs/*.incomplete"), *locks.glob("*.lock")):
        leftover.unlink(missing_ok=True)
