"""The reasons a condition can carry. They are API: scripts and alerts match on them."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a condition is what it is. `explanations` has the meaning, cause and fix of each."""

    SERVING = "Serving"
    SCHEDULED = "Scheduled"

    INVALID_WORKSPACE = "InvalidWorkspace"
    UNKNOWN_PRESET = "UnknownPreset"
    ACCESS_SECRET_REQUIRED = "AccessSecretRequired"  # noqa: S105 - a reason, not a secret
    NOT_SUPPORTED = "NotSupported"
    INVALID_CONFIG = "InvalidConfig"
    DOES_NOT_FIT = "DoesNotFit"
    NAME_CONFLICT = "NameConflict"
    REFUSED_BY_CLUSTER = "RefusedByCluster"

    QUOTA_EXCEEDED = "QuotaExceeded"
    ADMISSION_REFUSED = "AdmissionRefused"
    POD_CREATION_FAILED = "PodCreationFailed"

    SECRET_MISSING = "SecretMissing"  # noqa: S105 - a reason, not a secret
    CONFIG_MAP_MISSING = "ConfigMapMissing"
    PULL_SECRET_MISSING = "PullSecretMissing"  # noqa: S105 - a reason, not a secret
    VOLUME_UNAVAILABLE = "VolumeUnavailable"

    IMAGE_NOT_FOUND = "ImageNotFound"
    IMAGE_ACCESS_DENIED = "ImageAccessDenied"
    IMAGE_RATE_LIMITED = "ImageRateLimited"
    IMAGE_PULL_FAILED = "ImagePullFailed"

    NO_MATCHING_NODE = "NoMatchingNode"
    INSTANCE_TYPE_MISSING = "InstanceTypeMissing"
    DEVICE_PLUGIN_MISSING = "DevicePluginMissing"
    INSUFFICIENT_GPUS = "InsufficientGPUs"
    NO_FREE_GPU = "NoFreeGPU"
    INSUFFICIENT_MEMORY = "InsufficientMemory"
    INSUFFICIENT_CPU = "InsufficientCPU"
    INSUFFICIENT_DISK = "InsufficientDisk"
    NODES_TAINTED = "NodesTainted"
    NODES_NOT_READY = "NodesNotReady"
    UNSCHEDULABLE = "Unschedulable"
    ROLLOUT_BLOCKED = "RolloutBlocked"
    ROLLOUT_PAUSED = "RolloutPaused"

    NODE_LOST = "NodeLost"
    POD_STUCK = "PodStuck"
    POD_REJECTED = "PodRejected"
    POD_EVICTED = "PodEvicted"
    NODE_UNDER_PRESSURE = "NodeUnderPressure"

    CONTAINER_CONFIG_ERROR = "ContainerConfigError"
    CONTAINER_START_FAILED = "ContainerStartFailed"
    GPU_OUT_OF_MEMORY = "GPUOutOfMemory"
    OUT_OF_MEMORY = "OutOfMemory"
    MODEL_ACCESS_DENIED = "ModelAccessDenied"
    MODEL_UNAVAILABLE = "ModelUnavailable"
    INVALID_ADAPTER = "InvalidAdapter"
    DISK_FULL = "DiskFull"
    STARTUP_TIMED_OUT = "StartupTimedOut"
    CRASH_LOOP = "CrashLoop"
    PEER_LOST = "PeerLost"
    NOT_READY = "NotReady"

    DEPLOYING = "Deploying"
    STARTING = "Starting"
    ROLLING_OUT = "RollingOut"
    STOPPED = "Stopped"


UNDER_WAY = frozenset({Reason.DEPLOYING, Reason.STARTING, Reason.ROLLING_OUT, Reason.STOPPED})
"""On the way to serving, or not meant to serve: nothing is wrong."""

SEVERITY: tuple[Reason, ...] = (
    # Nothing that follows can be judged while the Workspace cannot be carried out.
    Reason.INVALID_WORKSPACE,
    Reason.UNKNOWN_PRESET,
    Reason.ACCESS_SECRET_REQUIRED,
    Reason.NOT_SUPPORTED,
    Reason.INVALID_CONFIG,
    Reason.DOES_NOT_FIT,
    Reason.NAME_CONFLICT,
    Reason.REFUSED_BY_CLUSTER,
    # Somebody holds it up.
    Reason.ROLLOUT_PAUSED,
    # No pod exists.
    Reason.QUOTA_EXCEEDED,
    Reason.ADMISSION_REFUSED,
    Reason.POD_CREATION_FAILED,
    # Something that the pod names does not exist: it would fail on any node.
    Reason.SECRET_MISSING,
    Reason.CONFIG_MAP_MISSING,
    Reason.PULL_SECRET_MISSING,
    # It has an image that no node can get.
    Reason.IMAGE_NOT_FOUND,
    Reason.IMAGE_ACCESS_DENIED,
    Reason.IMAGE_RATE_LIMITED,
    Reason.IMAGE_PULL_FAILED,
    # No node takes it.
    Reason.ROLLOUT_BLOCKED,
    Reason.INSTANCE_TYPE_MISSING,
    Reason.NO_MATCHING_NODE,
    Reason.DEVICE_PLUGIN_MISSING,
    Reason.INSUFFICIENT_GPUS,
    Reason.NO_FREE_GPU,
    Reason.INSUFFICIENT_MEMORY,
    Reason.INSUFFICIENT_CPU,
    Reason.INSUFFICIENT_DISK,
    Reason.NODES_TAINTED,
    Reason.NODES_NOT_READY,
    Reason.UNSCHEDULABLE,
    # Its node fails it.
    Reason.NODE_LOST,
    Reason.POD_STUCK,
    Reason.POD_REJECTED,
    Reason.POD_EVICTED,
    Reason.VOLUME_UNAVAILABLE,
    # The node cannot start its container.
    Reason.CONTAINER_CONFIG_ERROR,
    Reason.CONTAINER_START_FAILED,
    # The server ends.
    Reason.GPU_OUT_OF_MEMORY,
    Reason.OUT_OF_MEMORY,
    Reason.MODEL_ACCESS_DENIED,
    Reason.MODEL_UNAVAILABLE,
    Reason.INVALID_ADAPTER,
    Reason.DISK_FULL,
    Reason.STARTUP_TIMED_OUT,
    Reason.CRASH_LOOP,
    Reason.PEER_LOST,
    # The server runs, and does not serve.
    Reason.NODE_UNDER_PRESSURE,
    Reason.NOT_READY,
    Reason.STARTING,
    Reason.ROLLING_OUT,
    Reason.DEPLOYING,
    Reason.STOPPED,
)
"""Every reason that says why something does not serve, the nearest to the root first: what stands earlier explains
what stands later, and putting it right may put that right too."""

_KINDS_IN_PROSE = frozenset({"Pod", "Node", "Container"})


@dataclass(frozen=True, slots=True)
class Culprit:
    """The object at fault."""

    kind: str
    name: str

    def __str__(self) -> str:
        kind = self.kind.lower() if self.kind in _KINDS_IN_PROSE else self.kind
        return f'{kind} "{self.name}"'


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that stands between a Workspace and serving.

    `what` names the culprit and says what happened, `remedy` what to do about it. `terminal` means that nothing
    will change until a person changes something. `cause` tells two findings of one reason apart where that is news
    to a user (another Secret is missing), and stays the same while only a pod's name or a count changes.
    """

    reason: Reason
    what: str
    remedy: str = ""
    culprit: Culprit | None = None
    terminal: bool = False
    cause: str = ""

    @property
    def message(self) -> str:
        """The whole sentence, as conditions and Events carry it."""
        return f"{self.what}; {self.remedy}" if self.remedy else self.what


QUOTED_CHARACTERS = 300
"""How much of a foreign text is kept: enough for its cause, and our remedy still fits into the message."""


def clipped(text: object, limit: int = QUOTED_CHARACTERS) -> str:
    """Return foreign text on one line, and shortened, so that it cannot push our own words out."""
    line = " ".join(str(text or "").split())
    return line if len(line) <= limit else f"{line[: limit - 3]}..."
