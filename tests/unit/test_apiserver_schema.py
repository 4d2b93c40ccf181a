"""What the embedded API server makes of objects: unknown fields, wrong types, defaults, faults."""

from typing import Any

import pytest

from berth_local.apiserver.kinds.defaults import set_builtin_defaults
from berth_local.apiserver.schema.builtin import builtin_schema
from berth_local.apiserver.schema.decoding import WrongType, decode_builtin, prune, set_defaults
from berth_local.apiserver.schema.node import from_crd
from berth_local.apiserver.schema.validation import ObjectValidator

TEXT = {"type": "string"}


def crd(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}


@pytest.mark.parametrize(
    ("model", "body", "unknown"),
    [
        ("V1Pod", {"spec": {"containers": [{"name": "a", "imagee": "b"}]}}, ["spec.containers[0].imagee"]),
        ("V1Pod", {"metadata": {"lables": {}}, "speck": 1}, ["metadata.lables", "speck"]),
        ("V1Deployment", {"spec": {"template": {"spec": {"nodeSelector": {"any": "key"}}}}}, []),
        (
            "V1Service",
            {"spec": {"ports": [{"port": 1, "targetPort": "http"}, {"port": 2, "targetPort": 3}]}},
            [],
        ),
    ],
    ids=["in a list", "at the top", "keys of a map are free", "a port is a number or a name"],
)
def test_unknown_fields_of_built_in_kinds_are_cut_off_and_named(
    model: str, body: Any, unknown: list[str]
) -> None:
    decoded, found = decode_builtin(builtin_schema(model), body, "Kind")
    assert found == unknown
    assert decode_builtin(builtin_schema(model), decoded, "Kind") == (decoded, [])


@pytest.mark.parametrize(
    ("model", "body", "message"),
    [
        (
            "V1Deployment",
            {"spec": {"replicas": "2"}},
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            "V1Pod",
            {"spec": {"hostNetwork": 1}},
            "cannot unmarshal number into Go struct field PodSpec.spec.hostNetwork",
        ),
        (
            "V1Pod",
            {"spec": {"containers": {}}},
            "cannot unmarshal object into Go struct field PodSpec.spec.containers",
        ),
        ("V1Pod", {"spec": []}, "cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec"),
        (
            "V1ConfigMap",
            {"data": {"a": 1}},
            "cannot unmarshal number into Go struct field ConfigMap.data of type string",
        ),
        ("V1Secret", {"data": {"a": "%"}}, "illegal base64 data at data"),
        ("V1Deployment", {"spec": {"replicas": True}}, "cannot unmarshal bool into"),
    ],
    ids=[
        "a word",
        "a number for a choice",
        "an object for a list",
        "a list for an object",
        "a number",
        "not base64",
        "a choice for a number",
    ],
)
def test_wrong_types_are_told_as_the_api_tells_them(model: str, body: Any, message: str) -> None:
    with pytest.raises(WrongType) as refused:
        decode_builtin(builtin_schema(model), body, "Kind")
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("body", "decoded"),
    [
        (
            {"spec": {"containers": [{"resources": {"limits": {"cpu": 2}}}]}},
            {"spec": {"containers": [{"resources": {"limits": {"cpu": "2"}}}]}},
        ),
        (
            {"metadata": {"labels": {}, "finalizers": []}, "spec": {"nodeName": None}},
            {"metadata": {}, "spec": {}},
        ),
        (
            {"spec": {"volumes": [{"name": "t", "emptyDir": {}}], "securityContext": {}}},
            {"spec": {"volumes": [{"name": "t", "emptyDir": {}}], "securityContext": {}}},
        ),
    ],
    ids=[
        "a number for an amount is text",
        "empty maps, lists and nulls are nothing",
        "an empty choice is a choice",
    ],
)
def test_what_counts_as_given(body: Any, decoded: Any) -> None:
    assert decode_builtin(builtin_schema("V1Pod"), body, "Pod")[0] == decoded


@pytest.mark.parametrize(
    ("properties", "spec", "kept", "unknown"),
    [
        ({"a": TEXT}, {"a": "x", "b": 1}, {"a": "x"}, ["spec.b"]),
        (
            {"a": {"type": "object", "additionalProperties": TEXT}},
            {"a": {"any": "x"}},
            {"a": {"any": "x"}},
            [],
        ),
        (
            {"a": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            {"a": {"b": {"c": 1}}},
            {"a": {"b": {"c": 1}}},
            [],
        ),
        (
            {"a": {"type": "array", "items": {"type": "object", "properties": {"b": TEXT}}}},
            {"a": [{"b": "x", "c": 1}]},
            {"a": [{"b": "x"}]},
            ["spec.a[0].c"],
        ),
        ({"a": {"type": "object"}}, {"a": {"b": 1}}, {"a": {}}, ["spec.a.b"]),
    ],
    ids=["by name", "values of a map stay", "free form stays", "in a list", "an object of no properties"],
)
def test_custom_objects_are_pruned_to_their_schema(
    properties: Any, spec: Any, kept: Any, unknown: list[str]
) -> None:
    pruned, found = prune(from_crd(crd(**properties)), {"kind": "K", "metadata": {"x": 1}, "spec": spec}, "K")
    assert (pruned["spec"], found) == (kept, ["metadata.x", *unknown])


@pytest.mark.parametrize(
    ("properties", "spec", "result"),
    [
        ({"a": {"type": "integer", "default": 1}}, {}, {"a": 1}),
        ({"a": {"type": "integer", "default": 1}}, {"a": None}, {"a": 1}),
        ({"a": {"type": "integer", "default": 1, "nullable": True}}, {"a": None}, {"a": None}),
        ({"a": TEXT}, {"a": None}, {}),
        (
            {"a": {"type": "object", "default": {}, "properties": {"b": {"type": "string", "default": "c"}}}},
            {},
            {"a": {"b": "c"}},
        ),
        ({"a": {"type": "object", "properties": {"b": {"type": "string", "default": "c"}}}}, {}, {}),
        (
            {
                "a": {
                    "type": "array",
                    "items": {"type": "object", "properties": {"b": {"type": "string", "default": "c"}}},
                }
            },
            {"a": [{}]},
            {"a": [{"b": "c"}]},
        ),
    ],
    ids=[
        "absent",
        "null",
        "null that is allowed",
        "null with no default",
        "within a default",
        "not within what is absent",
        "in a list",
    ],
)
def test_defaults_of_custom_objects(properties: Any, spec: Any, result: Any) -> None:
    body = {"spec": spec}
    set_defaults(from_crd(crd(**properties)), body)
    assert body["spec"] == result


@pytest.mark.parametrize(
    ("schema", "value", "message"),
    [
        (
            {"type": "integer"},
            "x",
            'Invalid value: "string": spec.a in body must be of type integer: "string"',
        ),
        (
            {"type": "integer"},
            True,
            'Invalid value: "boolean": spec.a in body must be of type integer: "boolean"',
        ),
        (
            {"type": "integer", "minimum": 2},
            1,
            "Invalid value: 1: spec.a in body should be greater than or equal to 2",
        ),
        (
            {"type": "integer", "maximum": 2, "exclusiveMaximum": True},
            2,
            "Invalid value: 2: spec.a in body should be less than 2",
        ),
        ({"type": "string", "enum": ["b", "c"]}, "d", 'Unsupported value: "d": supported values: "b", "c"'),
        (
            {"type": "string", "pattern": "^b$"},
            "d",
            "Invalid value: \"d\": spec.a in body should match '^b$'",
        ),
        (
            {"type": "string", "maxLength": 2, "pattern": "^b$"},
            "ddd",
            "Too long: may not be more than 2 bytes",
        ),
        (
            {"type": "string", "minLength": 2},
            "",
            'Invalid value: "": spec.a in body should be at least 2 chars long',
        ),
        (
            {"type": "string", "format": "date-time"},
            "noon",
            'Invalid value: "noon": spec.a in body must be of type date-time: "noon"',
        ),
        (
            {"type": "array", "maxItems": 1, "items": TEXT},
            ["b", "c"],
            "Too many: 2: must have at most 1 items",
        ),
        (
            {"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"},
            ["b", "b"],
            'Duplicate value: "b"',
        ),
        ({"x-kubernetes-int-or-string": True}, [], 'must be of type integer,string: "array"'),
    ],
)
def test_faults_are_worded_as_the_api_words_them(schema: Any, value: Any, message: str) -> None:
    whole = crd(a=schema)
    found = ObjectValidator(whole, from_crd(whole)).causes({"spec": {"a": value}})
    assert len(found) == 1
    assert found[0].message.endswith(message)
    assert found[0].field.startswith("spec.a")


@pytest.mark.parametrize(
    ("table", "body", "path", "value"),
    [
        ("services", {"spec": {"ports": [{"port": 80}]}}, ("spec", "ports", 0, "targetPort"), 80),
        (
            "services",
            {"spec": {"ports": [{"port": 80, "targetPort": "h"}]}},
            ("spec", "ports", 0, "targetPort"),
            "h",
        ),
        ("deployments.apps", {"spec": {}}, ("spec", "strategy", "rollingUpdate", "maxSurge"), "25%"),
        (
            "deployments.apps",
            {"spec": {"strategy": {"type": "Recreate"}}},
            ("spec", "strategy"),
            {"type": "Recreate"},
        ),
        (
            "pods",
            {"spec": {"containers": [{"image": "a"}]}},
            ("spec", "containers", 0, "imagePullPolicy"),
            "Always",
        ),
        (
            "pods",
            {"spec": {"containers": [{"image": "r:5/a:1"}]}},
            ("spec", "containers", 0, "imagePullPolicy"),
            "IfNotPresent",
        ),
        (
            "pods",
            {"spec": {"containers": [{"image": "a@sha256:0"}]}},
            ("spec", "containers", 0, "imagePullPolicy"),
            "IfNotPresent",
        ),
        (
            "pods",
            {"spec": {"containers": [{"resources": {"limits": {"cpu": "1"}}}]}},
            ("spec", "containers", 0, "resources", "requests"),
            {"cpu": "1"},
        ),
        ("secrets", {"data": {"a": "eA=="}, "stringData": {"b": "y"}}, ("data",), {"a": "eA==", "b": "eQ=="}),
    ],
)
def test_defaults_of_built_in_kinds(table: str, body: Any, path: tuple[Any, ...], value: Any) -> None:
    set_builtin_defaults(table, body)
    found = body
    for part in path:
        found = found[part]
    assert found == value
