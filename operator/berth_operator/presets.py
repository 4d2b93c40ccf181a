"""Presets: everything that Berth needs to know in order to serve a model, one YAML file each."""

import difflib
import os
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from berth_operator.quantity import bytes_of, parse_duration, parse_quantity
from berth_operator.sizing import DType, MemoryNeed, required_memory

DIRECTORY_VARIABLE: Final = "BERTH_PRESETS_DIR"

NAME_PATTERN: Final = r"^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$"
"""A preset's name is a file's name and a label's value, so 63 characters at most."""


class PresetError(Exception):
    """A preset that cannot be used: names the file, the field, the fault and what is allowed."""


def _quantity(text: str) -> str:
    if parse_quantity(text) < 0:
        raise ValueError(f"{text!r} is negative")
    return text


def _duration(text: str) -> str:
    if parse_duration(text) < 1:
        raise ValueError(f"{text!r} is no time at all")
    return text


Quantity = Annotated[str, AfterValidator(_quantity)]
Duration = Annotated[str, AfterValidator(_duration)]


class _Data(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        protected_namespaces=(),
    )


class Dimensions(_Data):
    """The shape of a dense decoder with gated feed-forward layers and no biases: Llama, Mistral, Phi-3, Gemma 2.

    Where a preset states it, `parameters` is checked against it. Leave it out for any other architecture.
    """

    hidden_size: int = Field(ge=1)
    intermediate_size: int = Field(ge=1)
    vocab_size: int = Field(ge=1)
    heads: int = Field(ge=1)
    tied_embeddings: bool = False
    norms_per_layer: int = Field(default=2, ge=1)


class PresetModel(_Data):
    """The model: where its weights are, under which terms, and the numbers of its architecture."""

    id: str = Field(min_length=1)
    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    revision_note: str = ""
    license: str = Field(min_length=1)
    gated: bool = False
    architecture: str = Field(min_length=1)
    parameters: int = Field(ge=1)
    dtype: DType
    context_length: int = Field(ge=1)
    layers: int = Field(ge=1)
    kv_heads: int = Field(ge=1)
    head_size: int = Field(ge=1)
    dimensions: Dimensions | None = None

    @model_validator(mode="after")
    def _pinned_or_explained(self) -> Self:
        if self.revision is None and not self.revision_note.strip():
            raise ValueError("revision is null: say why in revisionNote, or name the commit (40 hex digits)")
        return self

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.dimensions is None:
            return self
        expected = self._parameters_of(self.dimensions)
        if self.parameters != expected:
            raise ValueError(f"parameters is {self.parameters}, but the dimensions make {expected}")
        return self

    def _parameters_of(self, shape: Dimensions) -> int:
        hidden = shape.hidden_size
        attention = 2 * hidden * self.head_size * (shape.heads + self.kv_heads)
        feed_forward = 3 * hidden * shape.intermediate_size
        layer = attention + feed_forward + shape.norms_per_layer * hidden
        embeddings = (1 if shape.tied_embeddings else 2) * shape.vocab_size * hidden
        return embeddings + self.layers * layer + hidden


class PresetResources(_Data):
    """What one pod asks for. `gpu: 0` asks for no GPU at all."""

    gpu: int = Field(ge=0)
    gpu_memory: Quantity = "0"
    cpu: Quantity
    memory: Quantity
    disk: Quantity

    @model_validator(mode="after")
    def _gpu_memory_goes_with_gpus(self) -> Self:
        if (self.gpu > 0) != (bytes_of(self.gpu_memory) > 0):
            raise ValueError("gpuMemory must be set where gpu is 1 or more, and only there")
        return self


class PresetServer(_Data):
    """How the server is started."""

    args: tuple[str, ...] = Field(default=(), strict=False)


class PresetVllm(_Data):
    """How vLLM is started. A preset without it is served by Berth's own server alone."""

    args: tuple[str, ...] = Field(default=(), strict=False)
    max_model_len: int | None = Field(default=None, ge=1)


class Preset(_Data):
    """One preset."""

    name: str = Field(pattern=NAME_PATTERN)
    description: str = Field(min_length=1)
    model: PresetModel
    image: str = Field(min_length=1)
    resources: PresetResources
    server: PresetServer = PresetServer()
    vllm: PresetVllm | None = None
    readiness_timeout: Duration

    @model_validator(mode="after")
    def _vllm_can_serve_it(self) -> Self:
        if self.vllm is None:
            return self
        if not self.needs_gpu or "/" not in self.model.id:
            raise ValueError("vllm needs a GPU (resources.gpu) and a model of the hub (model.id: owner/name)")
        if (self.vllm.max_model_len or 0) > self.model.context_length:
            raise ValueError(f"vllm.maxModelLen is above model.contextLength, {self.model.context_length}")
        shape = self.model.dimensions
        if shape is not None and shape.heads % self.resources.gpu:
            raise ValueError(f"vllm cannot split {shape.heads} heads evenly over {self.resources.gpu} GPUs")
        return self

    @property
    def readiness_seconds(self) -> int:
        """How long a pod may take until it serves, in seconds."""
        return parse_duration(self.readiness_timeout)

    @property
    def needs_gpu(self) -> bool:
        """Whether the preset asks for a GPU by itself."""
        return self.resources.gpu > 0

    def memory_need(
        self, context_tokens: int | None = None, sequences: int = 1, nodes: int = 1
    ) -> MemoryNeed:
        """The memory on what holds the model, in bytes; see `berth_operator.sizing`."""
        return required_memory(self.model, context_tokens, sequences, nodes=nodes)


class PresetCatalogue(Mapping[str, Preset]):
    """Presets by name, in alphabetical order. A model's hub id finds its preset too, as KAITO's users write it."""

    def __init__(self, presets: Mapping[str, Preset]) -> None:
        self._presets = MappingProxyType(dict(sorted(presets.items())))
        self._by_id = {preset.model.id.lower(): preset for preset in self._presets.values()}

    def __getitem__(self, name: str) -> Preset:
        return self._presets[name] if name in self._presets else self._by_id[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._presets)

    def __len__(self) -> int:
        return len(self._presets)

    def nearest(self, name: str) -> list[str]:
        """Names that a user may have meant, the likeliest first; empty where none is like it."""
        # A hub id such as microsoft/Phi-3-mini-4k-instruct is as near as its last part. Compared lengths are
        # bounded because matching takes the product of both.
        wanted = _plain(name[:200].rpartition("/")[2])
        plain = {_plain(known): known for known in self._presets}
        # An abbreviation (phi3, llama-3) is unlike the whole name to difflib, but every name it begins is near.
        begun = [known for text, known in plain.items() if wanted and text.startswith(wanted)]
        similar = difflib.get_close_matches(wanted, list(plain), n=3, cutoff=0.5)
        return list(dict.fromkeys([*begun, *(plain[text] for text in similar)]))[:3]


def _plain(name: str) -> str:
    """A name without case and punctuation, which is what users vary."""
    return "".join(character for character in name.lower() if character.isalnum())


def load_presets(directory: Path | None = None) -> PresetCatalogue:
    """Read every `*.yaml` file of a folder.

    The folder is `directory`, else the one that the environment's BERTH_PRESETS_DIR names, else the one that
    Berth came with. Raises `PresetError` for the first file that is not a preset, and for an empty folder.
    """
    folder = directory or default_directory()
    try:
        files = sorted(
            path for path in folder.iterdir() if path.suffix in (".yaml", ".yml") and path.is_file()
        )
    except OSError as error:
        raise PresetError(f"{folder}: cannot read the presets: {error.strerror or error}") from error
    if not files:
        raise PresetError(f"{folder}: holds no presets; name a folder of .yaml files in {DIRECTORY_VARIABLE}")
    return PresetCatalogue({path.stem: load_preset(path) for path in files})


def load_preset(path: Path) -> Preset:
    """Read one preset. Raises `PresetError`, naming the file and each field at fault."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PresetError(f"{path}: cannot be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise PresetError(f"{path}: must hold a preset's fields, not {type(data).__name__}")
    try:
        preset = Preset.model_validate(data)
    except ValidationError as error:
        raise PresetError(f"{path}: {'; '.join(_faults(error))}") from None
    if preset.name != path.stem:
        raise PresetError(
            f"{path}: name: is {preset.name!r}, but the file is named {path.stem!r}; make them the same"
        )
    return preset


def default_directory() -> Path:
    """Where presets are looked for when no folder is given."""
    if named := os.environ.get(DIRECTORY_VARIABLE):
        return Path(named)
    packaged = Path(str(resources.files("berth_operator"))) / "data" / "presets"
    # An editable installation has no packaged data: the checkout's own presets stand beside `operator/`.
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[2] / "presets"


def _faults(error: ValidationError) -> Iterator[str]:
    for item in error.errors(include_url=False):
        where = ".".join(str(step) for step in item["loc"])
        yield f"{where}: {_sentence(dict(item))}" if where else _sentence(dict(item))


def _sentence(item: dict[str, Any]) -> str:
    match item["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "is not a field of a preset"
        case _:
            return str(item["msg"]).removeprefix("Value error, ")
