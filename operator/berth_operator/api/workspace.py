"""The Workspace, and how one is read from what the API server (or a user's file) holds."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, StrictInt, StrictStr, ValidationError

from berth_operator.api.problems import InvalidWorkspace, Problem
from berth_operator.api.schema_problems import schema_problems
from berth_operator.api.spec import (
    Adapter,
    AdapterSource,
    ApiModel,
    Inference,
    LabelSelector,
    LabelSelectorRequirement,
    PresetOptions,
    PresetRef,
    Resource,
    SpecModel,
)
from berth_operator.api.status import Condition, Progress, Status
from berth_operator.api.validation import validate

__all__ = [
    "Adapter",
    "AdapterSource",
    "Condition",
    "Inference",
    "InvalidWorkspace",
    "LabelSelector",
    "LabelSelectorRequirement",
    "ObjectMeta",
    "PresetOptions",
    "PresetRef",
    "Problem",
    "Progress",
    "Resource",
    "Status",
    "Workspace",
    "parse_workspace",
]


class ObjectMeta(ApiModel):
    """The part of an object's metadata that Berth reads."""

    name: StrictStr = Field(min_length=1)
    namespace: StrictStr = "default"
    uid: StrictStr = ""
    generation: StrictInt = 0
    resource_version: StrictStr = ""
    labels: dict[StrictStr, StrictStr] = Field(default_factory=dict)
    annotations: dict[StrictStr, StrictStr] = Field(default_factory=dict)
    creation_timestamp: StrictStr | None = None
    deletion_timestamp: StrictStr | None = None


class Workspace(SpecModel):
    """A model to serve, where to serve it, and how that is going."""

    api_version: StrictStr = ""
    kind: StrictStr = ""
    metadata: ObjectMeta
    resource: Resource = Field(default_factory=Resource, description="The nodes that the model runs on.")
    inference: Inference | None = Field(
        default=None,
        description="The model to serve: a preset, or a pod template of your own; exactly one of them.",
    )
    tuning: Any = Field(
        default=None,
        description="Refused: Berth serves models; it does not tune them. Remove it, and set inference.",
    )
    status: Status = Field(default_factory=Status, description="What Berth found when it last looked.")


def parse_workspace(obj: Mapping[str, Any]) -> Workspace:
    """Read a Workspace as the API server holds it, or as a user wrote it.

    Whatever `obj` holds, the result is a Workspace that can be acted on, or `InvalidWorkspace` with every
    fault in it. An unreadable `status` is no fault of the user's: it reads as empty, and is written anew.
    """
    if not isinstance(obj, Mapping):
        raise InvalidWorkspace([Problem("", "a Workspace is an object", "write its fields as YAML keys")])
    try:
        workspace = Workspace.model_validate({**obj, "status": _readable_status(obj.get("status"))})
    except ValidationError as error:
        raise InvalidWorkspace(schema_problems(error, Workspace)) from None
    if problems := validate(workspace):
        raise InvalidWorkspace(problems)
    return workspace


def _readable_status(status: Any) -> Status:
    try:
        return Status.model_validate(status if status is not None else {})
    except ValidationError:
        return Status()
