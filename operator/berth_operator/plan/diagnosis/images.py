"""An image that cannot be pulled: wrong name, no credentials, too many requests, or something else."""

import re

from berth_operator.plan.diagnosis.missing import missing_pull_secrets
from berth_operator.plan.observed import Object
from berth_operator.plan.reasons import Culprit, Finding, Reason, clipped

IMAGE_REASONS = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)

RATE_LIMITED = re.compile(r"\b429\b|toomanyrequests|too many requests|rate limit", re.IGNORECASE)
DENIED = re.compile(
    r"\b40[13]\b|unauthorized|denied|authentication required|authorization failed|no basic auth credentials",
    re.IGNORECASE,
)
ADDRESS = re.compile(r"https?://\S+")
OTHER_PROCESSOR = re.compile(r"no match for platform|no matching manifest for", re.IGNORECASE)
NOT_FOUND = re.compile(
    r"not found|manifest unknown|name unknown|does not exist|\b404\b|notfound", re.IGNORECASE
)


def image_finding(what: str, container: Object, events: tuple[Object, ...]) -> Finding:
    """Return why the image of a container that waits for it cannot be had; `what` names the container."""
    waiting = (container.get("state") or {}).get("waiting") or {}
    image = str(container.get("image"))
    text = _words(str(waiting.get("message") or ""), events)
    culprit, said = Culprit("Image", image), f" ({clipped(text)})" if text else f" ({waiting.get('reason')})"
    # Its name may hold any word, and its tag any number; so may the address that it was asked for at.
    about = ADDRESS.sub("", text.replace(image, ""))
    lacks = missing_pull_secrets(events)
    if RATE_LIMITED.search(about):
        return Finding(
            Reason.IMAGE_RATE_LIMITED,
            f'{what} cannot get its image "{image}": its registry refuses further requests for now{said}',
            "wait, name an image pull secret of an account, or pull through a mirror",
            culprit,
            cause=image,
        )
    if lacks and (DENIED.search(about) or NOT_FOUND.search(about)):
        names = ", ".join(f'"{name}"' for name in lacks)
        return Finding(
            Reason.PULL_SECRET_MISSING,
            f'{what} cannot get its image "{image}": the image pull secret {names} does not exist in its namespace',
            f"create it with `kubectl create secret docker-registry {lacks[0]}`, or correct imagePullSecrets",
            Culprit("Secret", lacks[0]),
            cause=",".join(lacks),
        )
    if DENIED.search(about):
        return Finding(
            Reason.IMAGE_ACCESS_DENIED,
            f'{what} cannot get its image "{image}": its registry refuses it{said}',
            "name an image pull secret with credentials that may read it, and check the image's name: registries "
            "answer so for images that do not exist, too",
            culprit,
            cause=image,
        )
    if OTHER_PROCESSOR.search(about):
        return Finding(
            Reason.IMAGE_NOT_FOUND,
            f'{what} cannot get its image "{image}": its registry has it for other processors only{said}',
            "push it for this node's processor, or keep the pod on nodes that it is for (resource.labelSelector: "
            "kubernetes.io/arch)",
            culprit,
            cause=image,
        )
    if NOT_FOUND.search(about):
        return Finding(
            Reason.IMAGE_NOT_FOUND,
            f'{what} cannot get its image "{image}": its registry does not have it{said}',
            "correct the image's name or tag, or push it",
            culprit,
            cause=image,
        )
    return Finding(
        Reason.IMAGE_PULL_FAILED,
        f'{what} cannot get its image "{image}" ({waiting.get("reason")}){f": {clipped(text)}" if text else ""}',
        "check the name, that the registry can be reached from the node, and that an image pull secret gives access",
        culprit,
        cause=image,
    )


def _words(message: str, events: tuple[Object, ...]) -> str:
    """Return the words that have the cause: while the kubelet backs off it may say only that it does."""
    tells = any(pattern.search(message) for pattern in (RATE_LIMITED, DENIED, NOT_FOUND))
    if message and (tells or not message.startswith("Back-off pulling image")):
        return message
    for event in reversed(events):
        said = str(event.get("message", ""))
        if event.get("reason") == "Failed" and "pull image" in said:
            return said
    return message
