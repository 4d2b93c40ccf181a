"""Which images the agent can run: those whose program is installed beside it."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Image:
    """An image the agent stands in for: the last element of its repository, and what it runs when not told."""

    name: str
    entrypoint: tuple[str, ...] = ()


INFERENCE = Image("berth-inference", ("python", "-m", "berth_inference", "serve"))


def repository_name(reference: str) -> str:
    """Return the last path element of an image reference, without tag and digest."""
    return reference.partition("@")[0].rpartition("/")[2].partition(":")[0]


def find_image(reference: str, images: Iterable[Image]) -> Image | None:
    """Return the image that a reference means, whatever registry and tag it names, or None for a foreign one."""
    name = repository_name(reference)
    return next((image for image in images if image.name == name), None)


def refusal(reference: str, images: Iterable[Image]) -> str:
    """Return what a user who asked for a foreign image is told."""
    known = ", ".join(image.name for image in images)
    return (
        f"cannot run image {reference!r}: the embedded agent pulls no images, it runs only the program of {known} "
        "installed on this machine; use a cluster for other images"
    )
