"""The CRD says what the models say, in the form that the API server asks for.

The comparison reads the models' fields themselves, not the schema that the CRD was generated from.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
import yaml
from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from berth_operator.api.crd import main, workspace_crd
from berth_operator.api.rules import EXTENSIONS, RULES
from berth_operator.api.workspace import Workspace

REPOSITORY = Path(__file__).resolve().parents[2]
FILE = REPOSITORY / "charts/berth/crd/workspaces.kaito.sh.yaml"

CRD = workspace_crd()
VERSIONS = {version["name"]: version for version in CRD["spec"]["versions"]}
SCHEMA = VERSIONS["v1beta1"]["schema"]["openAPIV3Schema"]

# The API server's own fields: their meaning is not Berth's to describe.
STANDARD = {"apiVersion", "kind", "metadata"}

# `{}` has no value of its own: it lets the defaults below it apply to a Workspace that leaves the object out.
EMPTY_DEFAULTS = {"resource", "status"}

NUMBER_KEYS = {Ge: "minimum", Le: "maximum"}
LENGTH_KEYS = {
    "string": {MinLen: "minLength", MaxLen: "maxLength"},
    "array": {MinLen: "minItems", MaxLen: "maxItems"},
    "object": {MinLen: "minProperties", MaxLen: "maxProperties"},
}


def alias(name: str, field: FieldInfo) -> str:
    return field.alias or name


def fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, type[BaseModel], str, FieldInfo]]:
    """Every field below a model: its path in a manifest, the model it is in, its name there, and itself."""
    for name, field in model.model_fields.items():
        if not prefix and alias(name, field) in STANDARD:
            continue
        path = f"{prefix}{alias(name, field)}"
        yield path, model, name, field
        inner, brackets = bare(field.annotation)[0], ""
        if get_origin(inner) is list:
            inner, brackets = bare(get_args(inner)[0])[0], "[]"
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from fields(inner, f"{path}{brackets}.")


def bare(annotation: Any) -> tuple[Any, list[Any]]:
    """A type without `Optional` and `Annotated`, and the constraints that were annotated."""
    constraints: list[Any] = []
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *found = get_args(annotation)
            for item in found:
                constraints += item.metadata if isinstance(item, FieldInfo) else [item]
        elif get_origin(annotation) in (Union, UnionType):
            (annotation,) = [option for option in get_args(annotation) if option is not type(None)]
        else:
            return annotation, constraints


def property_at(path: str) -> dict[str, Any]:
    schema = SCHEMA
    for step in path.split("."):
        schema = schema["properties"][step.removesuffix("[]")]
        if step.endswith("[]"):
            schema = schema["items"]
    return schema


def kind_of(annotation: Any) -> str:
    origin = get_origin(annotation) or annotation
    if origin is Literal or origin is str:
        return "string"
    return {int: "integer", list: "array"}.get(origin, "object")


FIELDS = list(fields(Workspace))
every_field = pytest.mark.parametrize(
    ("path", "field"), [(path, field) for path, _, _, field in FIELDS], ids=[path for path, *_ in FIELDS]
)


@every_field
def test_a_field_has_its_type(path: str, field: FieldInfo) -> None:
    annotation, _ = bare(field.annotation)
    schema = property_at(path)
    assert schema["type"] == kind_of(annotation)
    if get_origin(annotation) is Literal:
        assert schema["enum"] == list(get_args(annotation))
    if get_origin(annotation) is list:
        assert schema["items"]["type"] == kind_of(bare(get_args(annotation)[0])[0])
    if get_origin(annotation) is dict:
        value, _ = bare(get_args(annotation)[1])
        if value is Any:
            assert schema["x-kubernetes-preserve-unknown-fields"] is True
        else:
            assert schema["additionalProperties"]["type"] == kind_of(value)


@every_field
def test_a_field_has_its_default(path: str, field: FieldInfo) -> None:
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    schema = property_at(path)
    if path in EMPTY_DEFAULTS:
        assert schema["default"] == {}
    elif default is None or isinstance(default, BaseModel) or default in (0, "", [], {}):
        assert "default" not in schema
    else:
        assert schema["default"] == default


@every_field
def test_a_field_has_its_bounds(path: str, field: FieldInfo) -> None:
    annotation, constraints = bare(field.annotation)
    schema = property_at(path)
    check_bounds(schema, [*field.metadata, *constraints])
    if get_origin(annotation) is list:
        check_bounds(schema["items"], bare(get_args(annotation)[0])[1])
    if get_origin(annotation) is dict and "additionalProperties" in schema:
        check_bounds(schema["additionalProperties"], bare(get_args(annotation)[1])[1])


def check_bounds(schema: dict[str, Any], constraints: list[Any]) -> None:
    keys = {**NUMBER_KEYS, **LENGTH_KEYS.get(schema["type"], {})}
    wanted = {}
    for constraint in constraints:
        if type(constraint) in keys:
            (value,) = (
                vars(constraint).values() if hasattr(constraint, "__dict__") else (bound_of(constraint),)
            )
            wanted[keys[type(constraint)]] = value
        elif pattern := getattr(constraint, "pattern", None):
            wanted["pattern"] = pattern
    known = {
        "minimum",
        "maximum",
        "pattern",
        *(key for group in LENGTH_KEYS.values() for key in group.values()),
    }
    assert {key: value for key, value in schema.items() if key in known} == wanted


def bound_of(constraint: Any) -> Any:
    return next(
        getattr(constraint, name)
        for name in ("ge", "le", "min_length", "max_length")
        if hasattr(constraint, name)
    )


@every_field
def test_a_field_is_described_for_kubectl_explain(path: str, field: FieldInfo) -> None:
    assert field.description
    assert property_at(path)["description"] == field.description


@pytest.mark.parametrize("model", sorted({model for _, model, _, _ in FIELDS}, key=lambda m: m.__name__))
def test_the_same_fields_are_required(model: type[BaseModel]) -> None:
    wanted = {alias(n, f) for n, f in model.model_fields.items() if f.is_required()} - STANDARD
    parents = {path.rpartition(".")[0] for path, inside, *_ in FIELDS if inside is model}
    for parent in parents:
        schema = property_at(parent) if parent else SCHEMA
        assert set(schema.get("required", [])) == wanted


def test_the_crd_has_no_field_that_the_models_lack() -> None:
    described = {path for path, *_ in FIELDS}
    assert set(paths_of(SCHEMA)) - STANDARD == described


def paths_of(schema: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, inner in schema.get("properties", {}).items():
        yield prefix + name
        yield from paths_of(inner, f"{prefix}{name}.")
        yield from paths_of(inner.get("items", {}), f"{prefix}{name}[].")


def every_schema(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield schema
    for inner in schema.get("properties", {}).values():
        yield from every_schema(inner)
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from every_schema(schema[key])


def test_every_rule_and_extension_is_in_the_crd() -> None:
    """A path that is misspelt in the tables would otherwise drop its rules without a word."""
    found = [
        rule["rule"] for schema in every_schema(SCHEMA) for rule in schema.get("x-kubernetes-validations", [])
    ]
    assert sorted(found) == sorted(rule.rule for rules in RULES.values() for rule in rules)
    for path, extension in EXTENSIONS.items():
        assert extension.items() <= property_at(path).items()


def test_every_schema_is_structural() -> None:
    for schema in every_schema(SCHEMA):
        assert schema["type"] in ("object", "array", "string", "integer")
        assert schema.keys().isdisjoint(
            {"$ref", "anyOf", "oneOf", "allOf", "nullable", "title", "const", "$defs"}
        )
        assert not ("properties" in schema and "additionalProperties" in schema)


def test_every_list_and_text_below_a_rule_is_bounded() -> None:
    """The API server refuses a rule whose cost it cannot bound."""
    for schema in every_schema(SCHEMA):
        if "x-kubernetes-validations" in schema and schema is not SCHEMA:
            for inner in every_schema(schema):
                if inner["type"] == "array":
                    assert "maxItems" in inner
                if inner["type"] == "string":
                    assert "maxLength" in inner or "enum" in inner


def test_both_of_kaito_s_versions_are_served_with_one_schema_and_the_newer_is_stored() -> None:
    assert {name: (v["served"], v["storage"]) for name, v in VERSIONS.items()} == {
        "v1alpha1": (True, False),
        "v1beta1": (True, True),
    }
    assert VERSIONS["v1alpha1"]["schema"] == VERSIONS["v1beta1"]["schema"]
    assert CRD["spec"]["conversion"] == {"strategy": "None"}


@pytest.mark.parametrize("version", VERSIONS)
def test_kubectl_get_shows_kaito_s_columns_and_the_endpoint_when_asked_for_more(version: str) -> None:
    columns = {c["name"]: c.get("priority", 0) for c in VERSIONS[version]["additionalPrinterColumns"]}
    assert list(columns) == [
        "Instance",
        "ResourceReady",
        "InferenceReady",
        "WorkspaceSucceeded",
        "TargetNodeCount",
        "State",
        "Endpoint",
        "Age",
    ]
    assert [name for name, priority in columns.items() if priority] == ["Endpoint"]


def test_it_goes_by_kaito_s_names() -> None:
    assert CRD["metadata"]["name"] == "workspaces.kaito.sh"
    assert CRD["spec"]["names"]["shortNames"] == ["wk", "wks"]
    assert CRD["spec"]["names"]["categories"] == ["workspace"]
    assert CRD["spec"]["scope"] == "Namespaced"


@pytest.mark.parametrize("version", VERSIONS)
def test_status_is_a_subresource_and_the_preset_and_machine_type_are_selectable(version: str) -> None:
    assert VERSIONS[version]["subresources"] == {"status": {}}
    selectable = {field["jsonPath"] for field in VERSIONS[version]["selectableFields"]}
    assert selectable == {".resource.instanceType", ".inference.preset.name"}


def test_the_chart_s_file_is_current() -> None:
    assert main(["--check", str(FILE)]) == 0
    assert yaml.safe_load(FILE.read_text()) == CRD


def test_the_chart_s_file_has_no_aliases_which_other_yaml_readers_may_not_know() -> None:
    assert not any(isinstance(token, yaml.AliasToken) for token in yaml.scan(FILE.read_text()))


def test_a_stale_or_missing_file_fails_the_check_and_says_what_to_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stale = tmp_path / "stale.yaml"
    stale.write_text(FILE.read_text() + "\n")
    assert main(["--check", str(stale)]) == 1
    assert main(["--check", str(tmp_path / "missing.yaml")]) == 1
    assert capsys.readouterr().err.count("make generate") == 2


def test_writing_makes_a_file_that_passes_the_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new" / "crd.yaml"
    assert main(["--write", str(target)]) == 0
    assert main(["--check", str(target)]) == 0
    assert main([]) == 0
    assert capsys.readouterr().out == target.read_text()
