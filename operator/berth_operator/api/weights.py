"""Where a Workspace's weights are kept, as its annotation and the operator's setting say it."""

import re
from dataclasses import dataclass
from typing import Final, Literal

from berth_operator.api.spec import NAME_PATTERN

FORMS: Final = "pod, node, claim/NAME, storage-class or storage-class/NAME"

NAME_CHARACTERS: Final = 253
"""What Kubernetes allows the name of a claim or a storage class."""


@dataclass(frozen=True, slots=True)
class WeightsVolume:
    """`pod`: with the pod. `node`: a folder of the node. `claim`: one that exists. `storage-class`: one for each pod.

    `name` is the claim's or the storage class's; "" is the cluster's default class.
    """

    kind: Literal["pod", "node", "claim", "storage-class"]
    name: str = ""

    @property
    def is_claimed(self) -> bool:
        """Whether the weights are on a volume of their own, and not on the node's disk."""
        return self.kind in ("claim", "storage-class")


WITH_THE_POD: Final = WeightsVolume("pod")


def read_weights_volume(text: str) -> WeightsVolume | None:
    """Read what the annotation or the setting holds; None where it is none of the `FORMS`."""
    kind, slash, name = text.partition("/")
    if slash and (len(name) > NAME_CHARACTERS or not re.fullmatch(NAME_PATTERN, name)):
        return None
    match kind:
        case "pod" | "node" if not slash:
            return WeightsVolume(kind)
        case "claim" if slash:
            return WeightsVolume(kind, name)
        case "storage-class":
            return WeightsVolume(kind, name)
    return None
