"""Patches of the embedded API server, as functions of plain data."""

from typing import Any

import pytest

from berth_local.apiserver.errors import ApiError
from berth_local.apiserver.patching import merge_patched
from berth_local.apiserver.schema.builtin import builtin_schema
from berth_local.apiserver.strategic import strategic_merge

POD = builtin_schema("V1Pod")


def pod(**spec: Any) -> dict[str, Any]:
    return {"spec": spec}


A, B, C = {"name": "a", "image": "1"}, {"name": "b", "image": "2"}, {"name": "c", "image": "3"}


@pytest.mark.parametrize(
    ("before", "patch", "after"),
    [
        (
            pod(containers=[A, B]),
            pod(containers=[{"name": "b", "image": "9"}]),
            pod(containers=[A, {"name": "b", "image": "9"}]),
        ),
        (pod(containers=[A]), pod(containers=[B]), pod(containers=[B, A])),
        (pod(containers=[A, B]), pod(containers=[{"name": "a", "$patch": "delete"}]), pod(containers=[B])),
        (pod(containers=[A, B]), pod(containers=[{"$patch": "replace"}, C]), pod(containers=[C])),
        (
            pod(containers=[A, B]),
            pod(containers=[{"name": "a", "image": None, "command": ["x"]}]),
            pod(containers=[{"name": "a", "command": ["x"]}, B]),
        ),
        (
            pod(containers=[A, B, C]),
            {"spec": {"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}]}},
            pod(containers=[B, C, A]),
        ),
        (pod(tolerations=[{"key": "a"}]), pod(tolerations=[{"key": "b"}]), pod(tolerations=[{"key": "b"}])),
        (
            pod(volumes=[{"name": "v", "emptyDir": {}}]),
            pod(volumes=[{"name": "v", "$retainKeys": ["name", "secret"], "secret": {"secretName": "s"}}]),
            pod(volumes=[{"name": "v", "secret": {"secretName": "s"}}]),
        ),
        (
            {"metadata": {"finalizers": ["a", "b"]}},
            {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}},
            {"metadata": {"finalizers": ["b"]}},
        ),
        (
            {"metadata": {"finalizers": ["a"]}},
            {"metadata": {"finalizers": ["b"]}},
            {"metadata": {"finalizers": ["b", "a"]}},
        ),
        (
            {"metadata": {"labels": {"a": "1", "b": "2"}}},
            {"metadata": {"labels": {"a": None, "c": "3"}}},
            {"metadata": {"labels": {"b": "2", "c": "3"}}},
        ),
        (
            {"metadata": {"labels": {"a": "1"}}},
            {"metadata": {"labels": {"$patch": "replace", "b": "2"}}},
            {"metadata": {"labels": {"b": "2"}}},
        ),
        (
            {"metadata": {"labels": {"a": "1"}}},
            {"metadata": {"labels": {"$patch": "delete"}}},
            {"metadata": {}},
        ),
    ],
    ids=[
        "an item by its key",
        "a new item comes first",
        "an item less",
        "all items anew",
        "a field of an item less",
        "another order",
        "a list that is one value",
        "one choice for another",
        "a finalizer less",
        "a finalizer more",
        "labels one by one",
        "labels anew",
        "labels gone",
    ],
)
def test_strategic_merge_patch(before: Any, patch: Any, after: Any) -> None:
    assert strategic_merge(POD, before, patch) == after


@pytest.mark.parametrize(
    "patch",
    [
        pod(containers=[{"image": "x"}]),
        {"$patch": "sideways"},
        {"metadata": {"$deleteFromPrimitiveList/finalizers": 3}},
    ],
    ids=["an item without its key", "an unknown directive", "a directive of the wrong type"],
)
def test_strategic_merge_patches_that_make_no_sense_are_refused(patch: Any) -> None:
    with pytest.raises(ApiError) as refused:
        strategic_merge(POD, pod(containers=[A]), patch)
    assert refused.value.code in (400, 422)


@pytest.mark.parametrize(
    ("before", "patch", "after"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ],
)
def test_merge_patch_as_rfc_7386_has_it(before: Any, patch: Any, after: Any) -> None:
    assert merge_patched(before, patch) == after
