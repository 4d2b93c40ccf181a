"""The API keys of a Workspace's server: a Secret that an annotation names, mounted where the server reads them.

The kubelet brings a changed Secret into running pods, and the server reads its files again: a key is exchanged without
a rollout. The keys are never in an argument or a variable.
"""

import re
from typing import Any, Final

from berth_operator.api.names import ANNOTATION_API_KEY_SECRET
from berth_operator.api.problems import shown
from berth_operator.api.spec import NAME_PATTERN
from berth_operator.api.workspace import Workspace
from berth_operator.plan.reasons import Finding, Reason

FOLDER: Final = "/etc/berth/api-keys"
VOLUME: Final = "api-keys"
ARGUMENTS: Final = ("--api-key-file", FOLDER)

NAME_CHARACTERS: Final = 253
"""What Kubernetes allows the name of a Secret."""


def api_key_secret(workspace: Workspace) -> str | None:
    """Return the name of the Secret whose values are the keys; None where no key is asked for."""
    return workspace.metadata.annotations.get(ANNOTATION_API_KEY_SECRET)


def api_key_refusal(workspace: Workspace) -> Finding | None:
    """Refuse an annotation that cannot be honoured: a server that asks for no key would look like one that does."""
    name = api_key_secret(workspace)
    if name is None:
        return None
    if len(name) > NAME_CHARACTERS or not re.fullmatch(NAME_PATTERN, name):
        problem, remedy = (
            f"{shown(name)} is not the name of a Secret",
            "use its name, or remove the annotation",
        )
    elif workspace.inference is not None and workspace.inference.template is not None:
        problem = "the server of inference.template is not Berth's to configure"
        remedy = "give the template's own server its keys, and remove the annotation"
    else:
        return None
    return Finding(
        Reason.NOT_SUPPORTED,
        f"annotation {ANNOTATION_API_KEY_SECRET}: {problem}",
        remedy,
        terminal=True,
        cause=ANNOTATION_API_KEY_SECRET,
    )


def volume(secret: str) -> dict[str, Any]:
    """Return the pod's volume with every key of the Secret. A Secret that is missing keeps the pod from starting."""
    return {"name": VOLUME, "secret": {"secretName": secret}}


def volume_mount() -> dict[str, Any]:
    """Return the container's mount of it."""
    return {"name": VOLUME, "mountPath": FOLDER, "readOnly": True}
