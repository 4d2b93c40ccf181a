"""From whatever a download raises to one line that says what was wrong and what to do."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from berth_inference.errors import LoadError, LoadFailure

# Of a foreign text.
_QUOTED_CHARACTERS = 300

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)


def explained(error: BaseException, model: str, revision: str | None, *, has_token: bool) -> LoadError:
    """The error for people."""
    what = f"{model} at revision {revision}" if revision else model
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
        RevisionResolutionError,
    )

    # The library wraps what the hub answered when it finds nothing in its cache either.
    while isinstance(error, LocalEntryNotFoundError | RevisionResolutionError) and error.__cause__:
        error = error.__cause__
    if isinstance(error, GatedRepoError):
        return LoadError(
            f"{what} is gated: accept its licence on the hub and give a token that may read it as HF_TOKEN",
            LoadFailure.ACCESS_DENIED,
        )
    if isinstance(error, RevisionNotFoundError):
        return LoadError(f"{model} has no revision {revision} on the hub: check it, or leave it out")
    if isinstance(error, RepositoryNotFoundError):
        return LoadError(
            f"{what} is not on the hub, or is private and HF_TOKEN is missing or may not read it: check the name, "
            "and give a token that may read it as HF_TOKEN"
        )
    if isinstance(error, HfHubHTTPError):
        return _refused(error.response.status_code, what, has_token=has_token)
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return no_space(what)
    if isinstance(error, OSError) and error.errno in NOT_WRITABLE:
        return not_writable(error.filename or "the cache")
    if isinstance(error, LocalEntryNotFoundError | RevisionResolutionError):
        return LoadError(f"{what} is not in the cache, and HF_HUB_OFFLINE forbids a download: unset it")
    if type(error).__module__.partition(".")[0] in ("httpx", "httpx2") or isinstance(error, ConnectionError):
        return LoadError(
            f"{what} is not in the cache and the hub cannot be reached ({type(error).__name__}): check the network, "
            "HF_ENDPOINT and the proxy, or serve a folder"
        )
    if isinstance(error, OSError) and "Consistency check failed" in str(error):
        return LoadError(
            f"the download of {what} was cut off again and again: check the network and the proxy"
        )
    said = (str(error).strip().splitlines() or ["no message"])[0][:_QUOTED_CHARACTERS]
    return LoadError(f"the download of {what} failed: {type(error).__name__}: {said}: try again")


def _refused(status: int, what: str, *, has_token: bool) -> LoadError:
    if status in (401, 403):
        remedy = (
            "make a new token, one that may read it"
            if has_token
            else "give a token that may read it as HF_TOKEN"
        )
        return LoadError(f"the hub answered {status} for {what}: {remedy}", LoadFailure.ACCESS_DENIED)
    if status == 404:
        return LoadError(f"the hub answered 404 for {what}: check its name and revision, and HF_ENDPOINT")
    if status == 429:
        remedy = "wait" if has_token else "wait, give a token as HF_TOKEN, which is allowed more"
        return LoadError(
            f"the hub answered 429 for {what}: it has had too many requests from here: {remedy}, or use a mirror"
        )
    return LoadError(f"the hub answered {status} for {what}: try again later, or use a mirror (HF_ENDPOINT)")


def no_space(what: str, needed: int | None = None, free: int | None = None) -> LoadError:
    """The volume of the cache is too small; in bytes where they are known."""
    numbers = (
        ""
        if needed is None or free is None
        else f": {needed / 2**30:.1f} GiB to download, {free / 2**30:.1f} free"
    )
    return LoadError(
        f"no space left for the weights of {what}{numbers}: give the cache volume more", LoadFailure.DISK_FULL
    )


def not_writable(folder: str | Path) -> LoadError:
    """The cache cannot be written to, and does not hold the weights."""
    return LoadError(
        f"{folder} cannot be written to by user {os.getuid()}, and the weights are not there: let this user write to "
        "the volume (chown it, or set the pod's fsGroup), or put the weights there"
    )


def no_safetensors(model: str) -> LoadError:
    """A model that has its weights in another format."""
    return LoadError(
        f"{model} has no weights in safetensors, the only format served, since others can run code when read: save it "
        "with save_pretrained of a current transformers"
    )


def damaged(model: str, files: list[str]) -> LoadError:
    """Files that arrive with another checksum than the hub's, time and again."""
    return LoadError(
        f"{', '.join(files)} of {model} arrived with another checksum than the hub's, twice: a proxy or mirror changes "
        "it, or the volume damages it; take another mirror (HF_ENDPOINT), or check the volume"
    )
