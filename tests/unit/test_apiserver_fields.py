"""Field managers: what each comes to own, what applying changes, when it conflicts."""

from typing import Any

import pytest

from berth_local.apiserver.errors import ApiError
from berth_local.apiserver.fields.managers import Manager, after_update, apply, read
from berth_local.apiserver.fields.merge import merge
from berth_local.apiserver.fields.paths import from_fields, to_fields
from berth_local.apiserver.fields.typed import typed_faults
from berth_local.apiserver.schema.builtin import builtin_schema

DEPLOYMENT = builtin_schema("V1Deployment")
NOW = "2026-01-01T00:00:00Z"


def workload(*containers: Any, **spec: Any) -> dict[str, Any]:
    whole = {**spec, "template": {"spec": {"containers": list(containers)}}} if containers else spec
    return {"metadata": {"name": "d"}, "spec": whole}


def applying(
    live: dict[str, Any], config: dict[str, Any], name: str, *, force: bool = False
) -> dict[str, Any]:
    return apply(DEPLOYMENT, live, config, Manager(name, "Apply", "apps/v1"), NOW, force=force)


def owners(body: dict[str, Any]) -> dict[str, Any]:
    return {entry["manager"]: entry["fieldsV1"] for entry in body["metadata"].get("managedFields") or ()}


def test_two_appliers_of_one_list_keep_each_others_items() -> None:
    live = applying({}, workload({"name": "a", "image": "1"}), "one")
    live = applying(live, workload({"name": "b", "image": "2"}), "two")
    assert [one["name"] for one in live["spec"]["template"]["spec"]["containers"]] == ["a", "b"]
    live = applying(live, workload(replicas=1), "one")
    assert live["spec"]["template"]["spec"]["containers"] == [{"name": "b", "image": "2"}]


def test_what_is_no_longer_applied_goes_unless_another_owns_it() -> None:
    live = applying({}, workload(replicas=1, paused=True), "one")
    live = applying(live, workload(replicas=1), "two")
    live = applying(live, workload(minReadySeconds=5), "one")
    assert live["spec"] == {"replicas": 1, "minReadySeconds": 5}
    assert owners(live) == {
        "one": {"f:spec": {"f:minReadySeconds": {}}},
        "two": {"f:spec": {"f:replicas": {}}},
    }


def test_applying_another_value_names_who_has_it_and_force_takes_it() -> None:
    live = applying({}, workload(replicas=1), "one")
    with pytest.raises(ApiError) as refused:
        applying(live, workload(replicas=2), "two")
    assert (refused.value.code, refused.value.message) == (
        409,
        'Apply failed with 1 conflict: conflict with "one": .spec.replicas',
    )
    live = applying(live, workload(replicas=2), "two", force=True)
    assert owners(live) == {"two": {"f:spec": {"f:replicas": {}}}}


def test_an_update_takes_over_what_it_changes() -> None:
    live = applying({}, workload(replicas=1, paused=True), "one")
    new = {**live, "spec": {**live["spec"], "replicas": 3}}
    entries = after_update(DEPLOYMENT, live, new, Manager("hand", "Update", "apps/v1"), NOW)
    assert {entry["manager"]: entry["fieldsV1"] for entry in entries} == {
        "one": {"f:spec": {"f:paused": {}}},
        "hand": {"f:spec": {"f:replicas": {}}},
    }


def test_an_update_that_changes_nothing_signs_nothing() -> None:
    live = applying({}, workload(replicas=1), "one")
    entries = after_update(
        DEPLOYMENT, live, {**live}, Manager("hand", "Update", "apps/v1"), "2027-01-01T00:00:00Z"
    )
    assert entries == live["metadata"]["managedFields"]


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ([{}], []),
        ([], ["hand", "one"]),
        ([{"manager": "x", "operation": "Apply", "fieldsV1": {"f:spec": {"f:paused": {}}}}], ["hand", "x"]),
        ([{"fieldsV1": 3}], ["hand", "one"]),
    ],
    ids=[
        "one empty entry forgets all",
        "none keeps those before",
        "others take their place",
        "nonsense is not believed",
    ],
)
def test_what_a_client_says_of_managers(said: Any, names: list[str]) -> None:
    live = applying({}, workload(paused=True), "one")
    new = {
        **live,
        "metadata": {**live["metadata"], "managedFields": said},
        "spec": {"paused": True, "replicas": 2},
    }
    entries = after_update(DEPLOYMENT, live, new, Manager("hand", "Update", "apps/v1"), NOW)
    assert sorted(entry["manager"] for entry in entries) == names


@pytest.mark.parametrize(
    ("live", "config", "merged"),
    [
        ("ab", "b", "ab"),
        ("ab", "c", "abc"),
        ("ab", "ba", "ba"),
        ("abc", "cx", "abcx"),
        ("abcd", "db", "acdb"),
        ("acdb", "xc", "axcdb"),
        ("", "ab", "ab"),
    ],
)
def test_the_applied_order_of_a_list_holds_and_others_stay_before(
    live: str, config: str, merged: str
) -> None:
    containers = DEPLOYMENT.child("spec").child("template").child("spec").child("containers")
    result = merge(containers, [{"name": one} for one in live], [{"name": one} for one in config])
    assert "".join(one["name"] for one in result) == merged


def test_selectors_are_owned_and_replaced_as_a_whole() -> None:
    live = applying({}, workload(selector={"matchLabels": {"a": "1", "b": "2"}}), "one")
    assert owners(live)["one"] == {"f:spec": {"f:selector": {}}}
    live = applying(live, workload(selector={"matchLabels": {"a": "1"}}), "one")
    assert live["spec"]["selector"] == {"matchLabels": {"a": "1"}}


@pytest.mark.parametrize(
    "tree",
    [
        {"f:a": {}},
        {"f:a": {".": {}, "f:b": {}}},
        {"f:a": {'k:{"name":"x"}': {".": {}, "f:b": {}}, 'v:"y"': {}}},
    ],
)
def test_field_sets_are_read_as_they_are_written(tree: Any) -> None:
    assert to_fields(from_fields(tree)) == tree


def test_managers_that_are_not_understood_are_none() -> None:
    assert read([{"operation": "Apply", "fieldsV1": {"x": {}}}]) is None


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (workload(replica=1), ".spec.replica: field not declared in schema"),
        (workload(replicas="1"), ".spec.replicas: expected numeric (int or float), got string"),
        (
            workload({"image": "x"}),
            ".spec.template.spec.containers: element 0: associative list with keys has an "
            "element that omits key field 'name'",
        ),
        (
            workload({"name": "x"}, {"name": "x"}),
            '.spec.template.spec.containers: duplicate entries for key {"name":"x"}',
        ),
        ({"spec": 3}, ".spec: expected map, got numeric"),
    ],
)
def test_what_cannot_be_applied_is_told(body: Any, fault: str) -> None:
    assert typed_faults(DEPLOYMENT, body) == [fault]
