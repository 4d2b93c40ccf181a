"""What a user asks for in a Workspace: the fields under `resource` and `inference`.

The descriptions here are the API's documentation: the CRD is generated from these models, and
`kubectl explain workspace.inference` prints them.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, model_validator
from pydantic.alias_generators import to_camel

MAX_ADAPTERS = 10
"""KAITO's limit."""

MAX_PODS = 1000
"""Far above any real use; it keeps a slip of the finger from asking a node autoscaler for 10,000 GPUs."""

MAX_NAME = 253
"""A DNS subdomain, which is what Kubernetes allows most objects to be named."""

MAX_LABEL = 63
"""The longest value of a label."""

MAX_ADAPTER_NAME = 55
"""An adapter's init container is named `adapter-` and its name, which together may have 63 characters."""

MAX_LABEL_KEY = 317
"""A label's key: a DNS subdomain of 253 characters, a slash, and a name of 63."""

MAX_IMAGE = 1024
"""Well above what registries allow: 255 characters for a repository, 128 for a tag, 71 for a digest."""

NAME_PATTERN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
ADAPTER_NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
LABEL_VALUE_PATTERN = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
NO_SPACE_PATTERN = r"^[^ \t\r\n]+$"

Name = Annotated[StrictStr, Field(min_length=1, max_length=MAX_NAME, pattern=NAME_PATTERN)]
AdapterName = Annotated[
    StrictStr, Field(min_length=1, max_length=MAX_ADAPTER_NAME, pattern=ADAPTER_NAME_PATTERN)
]
Image = Annotated[StrictStr, Field(min_length=1, max_length=MAX_IMAGE, pattern=NO_SPACE_PATTERN)]
LabelValue = Annotated[StrictStr, Field(max_length=MAX_LABEL, pattern=LABEL_VALUE_PATTERN)]
LabelKey = Annotated[StrictStr, Field(min_length=1, max_length=MAX_LABEL_KEY)]


class ApiModel(BaseModel):
    """Frozen, and camelCase outside. A field that is null is as good as left out, as in Kubernetes."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _leave_out_nulls(cls, data: Any) -> Any:
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if value is not None}
        return data


class SpecModel(ApiModel):
    """Refuses fields that it does not know: what a user asks for has an effect, or is refused."""

    model_config = ConfigDict(extra="forbid")


class LabelSelectorRequirement(SpecModel):
    """One condition on a node label."""

    key: LabelKey = Field(description="The label's name.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(
        description="How the label is compared: In, NotIn, Exists or DoesNotExist."
    )
    values: list[LabelValue] = Field(
        default_factory=list,
        max_length=100,
        description="The values to compare with. Needed by In and NotIn; Exists and DoesNotExist take none.",
    )


class LabelSelector(SpecModel):
    """Which nodes may run the pods. All of its conditions must hold."""

    match_labels: dict[LabelKey, LabelValue] = Field(
        default_factory=dict,
        max_length=64,
        description="Labels that a node must carry, with exactly these values.",
    )
    match_expressions: list[LabelSelectorRequirement] = Field(
        default_factory=list, max_length=64, description="Further conditions on a node's labels."
    )


class Resource(SpecModel):
    """The nodes that the model runs on."""

    count: StrictInt = Field(
        default=1,
        ge=0,
        le=MAX_PODS,
        description=(
            "How many pods serve the model, each with all of it. Where vLLM runs it and one node cannot hold it, "
            "they hold it together. 0 stops them and keeps the Workspace."
        ),
    )
    instance_type: LabelValue = Field(
        default="",
        description=(
            "The machine type that a node must have (its label node.kubernetes.io/instance-type), such as "
            "Standard_NC24ads_A100_v4. A node autoscaler brings one where none is free. Left out: any node "
            "that matches labelSelector."
        ),
    )
    label_selector: LabelSelector = Field(
        default_factory=LabelSelector,
        description="The labels that a node must have. Left out or empty: every node matches.",
    )
    preferred_nodes: list[Name] = Field(
        default_factory=list,
        max_length=100,
        description=(
            "Names of nodes to prefer among those that match. A preference only: the other nodes are used "
            "when these have no room."
        ),
    )


class PresetOptions(SpecModel):
    """Where a preset's image and weights come from."""

    image: Image | None = Field(
        default=None,
        description="The image to run instead of the preset's. It needs accessMode: private.",
    )
    image_pull_secrets: list[Name] = Field(
        default_factory=list,
        max_length=16,
        description="Names of Secrets in this namespace that hold the credentials of the image's registry.",
    )
    model_access_secret: Name | None = Field(
        default=None,
        description=(
            "Name of a Secret in this namespace whose key HF_TOKEN holds a Hugging Face access token. Gated "
            "models need it."
        ),
    )


class PresetRef(SpecModel):
    """One of Berth's presets: a model, and everything that is needed to serve it."""

    name: StrictStr = Field(
        min_length=1,
        max_length=MAX_NAME,
        description="The preset's name, such as phi-3-mini-4k-instruct. It cannot be changed later.",
    )
    access_mode: Literal["public", "private"] = Field(
        default="public",
        description="public runs the preset's own image; private runs presetOptions.image.",
    )
    preset_options: PresetOptions = Field(
        default_factory=PresetOptions, description="Where the preset's image and weights come from."
    )


class AdapterSource(SpecModel):
    """Where a LoRA adapter's files come from: an image or a volume, exactly one of them."""

    name: AdapterName = Field(description="The adapter's name, of which there is only one in this Workspace.")
    image: Image | None = Field(
        default=None,
        description=(
            "An image that holds the adapter's files (adapter_config.json and adapter_model.safetensors) under "
            "/data, readable for every user, and the program `cp`."
        ),
    )
    image_pull_secrets: list[Name] = Field(
        default_factory=list,
        max_length=16,
        description="Names of Secrets in this namespace that hold the credentials of the image's registry.",
    )
    volume_source: dict[StrictStr, Any] | None = Field(
        default=None,
        description=(
            "A volume that holds the adapter's files at its root, written as a pod's volume is, without a name."
        ),
    )
    urls: list[Annotated[StrictStr, Field(max_length=2048)]] = Field(
        default_factory=list,
        max_length=16,
        description="Refused: adapters are not downloaded from addresses. Use image or volumeSource.",
    )


class Adapter(SpecModel):
    """A LoRA adapter that is merged into the model."""

    source: AdapterSource = Field(description="Where the adapter's files come from.")
    strength: Annotated[StrictStr, Field(max_length=16)] = Field(
        default="1.0",
        description=(
            'How much of the adapter is added to the model: a number from 0 to 1, in quotes, such as "0.5".'
        ),
    )


class Inference(SpecModel):
    """The model to serve: a preset, or a pod template of your own; exactly one of them."""

    preset: PresetRef | None = Field(
        default=None,
        description="A model that Berth knows how to serve. Exactly one of preset and template must be set.",
    )
    template: dict[StrictStr, Any] | None = Field(
        default=None,
        description=(
            "A pod template of your own, as in a Deployment. Its server must listen on port 5000. Exactly one "
            "of preset and template must be set."
        ),
    )
    config: Name | None = Field(
        default=None,
        description="Name of a ConfigMap in this namespace; its key inference_config.yaml configures the server.",
    )
    adapters: list[Adapter] = Field(
        default_factory=list,
        max_length=MAX_ADAPTERS,
        description=(
            "LoRA adapters that are merged into the preset's model: at most 10, each with a name of its own."
        ),
    )
