"""What Berth reports about a Workspace: the fields under `status`."""

from typing import Literal

from pydantic import Field

from berth_operator.api.spec import ApiModel


class Condition(ApiModel):
    """One fact about the Workspace: whether it holds, since when, and why."""

    type: str = Field(
        description="What it is about: Ready, ResourceReady, InferenceReady or WorkspaceSucceeded.",
        min_length=1,
        max_length=316,
    )
    status: Literal["True", "False", "Unknown"] = Field(
        description="Whether it holds: True, False or Unknown."
    )
    observed_generation: int = Field(
        default=0,
        ge=0,
        json_schema_extra={"format": "int64"},
        description="The Workspace's metadata.generation that this condition speaks of.",
    )
    last_transition_time: str = Field(
        json_schema_extra={"format": "date-time"}, description="When status last changed."
    )
    reason: str = Field(
        description="The cause in one word, for programs.",
        min_length=1,
        max_length=1024,
        pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
    )
    message: str = Field(
        description="The object at fault, the cause and the remedy, for people.", max_length=32768
    )


class Progress(ApiModel):
    """How far the pods are on their way to serving."""

    phase: str = Field(
        default="",
        max_length=64,
        description="What the pods do now: Scheduling, Pulling, Downloading, Loading, WarmingUp or Serving.",
    )
    percent: int | None = Field(
        default=None, ge=0, le=100, description="How much of the phase is done, in percent."
    )
    bytes_done: int | None = Field(
        default=None,
        ge=0,
        json_schema_extra={"format": "int64"},
        description="Bytes downloaded or loaded so far.",
    )
    bytes_total: int | None = Field(
        default=None,
        ge=0,
        json_schema_extra={"format": "int64"},
        description="Bytes to download or load in all.",
    )
    seconds_left: int | None = Field(
        default=None,
        ge=0,
        json_schema_extra={"format": "int64"},
        description="An estimate of the seconds until the phase is done.",
    )


class Status(ApiModel):
    """What Berth found when it last looked."""

    conditions: list[Condition] = Field(
        default_factory=list, description="Whether the Workspace is ready, and if not, why."
    )
    endpoint: str = Field(default="", max_length=2048, description="The address at which the model answers.")
    observed_generation: int = Field(
        default=-1,
        json_schema_extra={"format": "int64"},
        description="The metadata.generation that this status speaks of; -1 before Berth has looked at all.",
    )
    progress: Progress | None = Field(
        default=None, description="How far the pods are on their way to serving."
    )
    state: Literal["Pending", "Ready", "NotReady"] | None = Field(
        default=None,
        description=(
            "Pending until the model has served for the first time; then Ready while it serves and NotReady "
            "while it does not."
        ),
    )
    target_node_count: int | None = Field(
        default=None, ge=0, description="How many nodes the Workspace needs: one for each pod."
    )
    worker_nodes: list[str] = Field(
        default_factory=list, description="Names of the nodes that run the Workspace's pods, sorted."
    )
