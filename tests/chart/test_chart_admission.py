"""The admission policy of presets: what it knows, where it applies, and that nothing of it can be down."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from berth_operator.presets import load_presets
from chart.conftest import CHART
from chart.test_extra_presets import PRESET
from chart.variants import VARIANTS

RenderOne = Callable[..., dict[str, Any]]


def policy_of(render_one: RenderOne, values: dict[str, Any] | None = None) -> dict[str, Any]:
    return render_one("ValidatingAdmissionPolicy", values)["spec"]


def lists_of(policy: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The names and the hub ids that the policy knows."""
    variables = {variable["name"]: variable["expression"] for variable in policy["variables"]}
    return json.loads(variables["known"]), json.loads(variables["ids"])


@pytest.mark.parametrize("further", [{}, {"example-8b": PRESET}], ids=["built in", "and a further one"])
def test_it_knows_what_the_operator_s_catalogue_knows(render_one: RenderOne, further: dict[str, Any]) -> None:
    names, ids = lists_of(policy_of(render_one, {"extraPresets": further}))
    catalogue = load_presets(CHART / "presets")
    assert names == sorted([*catalogue, *further])
    assert set(ids) == {preset.model.id.lower() for preset in catalogue.values()} | {
        preset["model"]["id"].lower() for preset in further.values()
    }


def test_its_message_lists_the_known_names_and_says_what_to_do(render_one: RenderOne) -> None:
    [validation] = policy_of(render_one)["validations"]
    message = validation["messageExpression"]
    for name in load_presets(CHART / "presets"):
        assert name in message
    assert "extraPresets" in message


def test_a_long_list_is_cut_so_that_the_message_fits(render_one: RenderOne) -> None:
    many = {f"{'p' * 55}-{number:03}": PRESET for number in range(200)}
    policy = policy_of(render_one, {"extraPresets": many})
    [validation] = policy["validations"]
    assert "and 151 more" in validation["messageExpression"]
    # The API server keeps 5 kB of an expression's result.
    assert len(validation["messageExpression"]) < 5 * 1024
    assert len(lists_of(policy)[0]) == 211


def test_it_judges_only_new_workspaces_so_that_old_ones_stay_editable(render_one: RenderOne) -> None:
    [rule] = policy_of(render_one)["matchConstraints"]["resourceRules"]
    assert rule == {
        "operations": ["CREATE"],
        "apiGroups": ["kaito.sh"],
        "apiVersions": ["*"],
        "resources": ["workspaces"],
    }


def test_a_fault_of_it_lets_workspaces_in_and_nothing_outside_the_api_server_takes_part(
    render_one: RenderOne,
) -> None:
    policy = policy_of(render_one)
    assert policy["failurePolicy"] == "Ignore"
    assert "paramKind" not in policy


@pytest.mark.parametrize(
    ("variant", "namespaces"),
    [("defaults", None), ("one namespace", ["berth-system"]), ("several namespaces", ["team-a", "team-b"])],
)
def test_it_applies_where_the_release_serves(
    render_one: RenderOne, variant: str, namespaces: list[str] | None
) -> None:
    spec = render_one("ValidatingAdmissionPolicyBinding", VARIANTS[variant])["spec"]
    selector = (spec.get("matchResources") or {}).get("namespaceSelector")
    assert spec["validationActions"] == ["Deny"]
    assert spec["policyName"] == render_one("ValidatingAdmissionPolicy")["metadata"]["name"]
    assert (selector and selector["matchExpressions"][0]["values"]) == namespaces


def test_it_is_one_value_away_from_gone(render: Callable[..., list[dict[str, Any]]]) -> None:
    kinds = {m["kind"] for m in render(VARIANTS["no admission policy"])}
    assert not kinds & {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
