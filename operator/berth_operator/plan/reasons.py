"""The reasons a condition can carry. They are API: scripts and alerts match on them."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a condition is what it is. The meaning, cause and fix of each are in `docs/conditions.md`."""

    SERVING = "Serving"
    SCHEDULED = "Scheduled"

    INVALID_WORKSPACE = "InvalidWorkspace"
    UNKNOWN_PRESET = "UnknownPreset"
    ACCESS_SECRET_REQUIRED = "AccessSecretRequired"  # noqa: S105 - a reason, not a secret
    NOT_SUPPORTED = "NotSupported"
    NAME_CONFLICT = "NameConflict"
    REFUSED_BY_CLUSTER = "RefusedByCluster"

    DEPLOYING = "Deploying"
    UNSCHEDULABLE = "Unschedulable"
    POD_CREATION_FAILED = "PodCreationFailed"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    CONTAINER_CONFIG_ERROR = "ContainerConfigError"
    CONTAINER_START_FAILED = "ContainerStartFailed"
    OUT_OF_MEMORY = "OutOfMemory"
    CRASH_LOOP = "CrashLoop"
    POD_EVICTED = "PodEvicted"
    STARTING = "Starting"
    NOT_READY = "NotReady"
    ROLLING_OUT = "RollingOut"
    STOPPED = "Stopped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that stands between a Workspace and serving: its reason, and what happened and what to do about it.

    `terminal` means that nothing will change until a person changes something.
    """

    reason: Reason
    message: str
    terminal: bool = False
