"""Whatever a Workspace holds, it is read or refused in words: never a crash, a hang or a message of any size."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from berth_operator.api.workspace import InvalidWorkspace, Workspace, parse_workspace
from unit.workspaces import VALID, changed, check_refusal, problems_of


@pytest.mark.parametrize(
    "obj", [None, 3, "text", [], [VALID], b"bytes", {}, {1: 2}, {None: None}, {"metadata": 3}], ids=str
)
def test_what_is_no_workspace_is_refused_in_words(obj: Any) -> None:
    check_refusal(InvalidWorkspace(problems_of(obj)))


TEXTS = st.one_of(
    st.text(max_size=30),
    st.text(st.characters(categories=["Cs", "Co", "Cc", "So"]), max_size=5),
    st.sampled_from(
        [
            "x" * 1_000_000,
            "a\nb",
            "\uff57\uff4f\uff52\uff4b",
            "\u043c\u043e\u0434\u0435\u043b\u044c",
            "../../etc/passwd",
            "\x00",
            "$(HF_TOKEN)",
            "{{ x }}",
        ]
    ),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from(
        [10**400, -(10**400), 2**63, 1e308, float("nan"), float("inf"), b"\xff", {1, 2}, object()]
    ),
    st.floats(),
    TEXTS,
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(TEXTS, st.integers(), st.none()), inner, max_size=4),
    ),
    max_leaves=8,
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where in a nested value something can be put in another's place."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for step, inner in steps for place in places(inner, (*at, step)))]


PLACES = [place for place in places(VALID) if place]
KINDS = ("replace", "remove", "add", "repeat")
MUTATIONS = st.lists(
    st.tuples(st.sampled_from(PLACES), st.sampled_from(KINDS), st.one_of(TEXTS, st.integers()), VALUES),
    min_size=1,
    max_size=4,
)


def mutated(mutations: list[tuple[tuple[Any, ...], str, Any, Any]]) -> dict[str, Any]:
    result = copy.deepcopy(VALID)
    for place, kind, key, value in mutations:
        try:
            inside: Any = result
            for step in place[:-1]:
                inside = inside[step]
            match kind:
                case "replace":
                    inside[place[-1]] = value
                case "remove":
                    del inside[place[-1]]
                case "add":
                    inside[place[-1]][key] = value
                case "repeat":
                    inside[place[-1]] = [inside[place[-1]]] * 12
        except (KeyError, IndexError, TypeError):
            continue  # an earlier mutation took the place away
    return result


@settings(max_examples=200, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(MUTATIONS)
@example([(("inference", "template"), "replace", "", {})])
def test_a_mutated_workspace_is_read_or_refused_in_words(
    mutations: list[tuple[tuple[Any, ...], str, Any, Any]],
) -> None:
    obj = mutated(mutations)
    try:
        workspace = parse_workspace(obj)
    except InvalidWorkspace as refusal:
        check_refusal(refusal)
    else:
        assert isinstance(workspace, Workspace)


@settings(max_examples=200, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.one_of(st.sampled_from(sorted(VALID)), TEXTS), VALUES, max_size=6))
def test_any_object_is_read_or_refused_in_words(obj: dict[str, Any]) -> None:
    try:
        parse_workspace(obj)
    except InvalidWorkspace as refusal:
        check_refusal(refusal)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": [value]}
    return value


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w["inference"]["preset"].update(name="x" * 10_000_000),
        lambda w: w["inference"]["adapters"][0].update(strength="0" * 1_000_000 + "x"),
        lambda w: w["resource"]["labelSelector"]["matchLabels"].update({"a-" * 500_000: "b"}),
        lambda w: w["resource"]["labelSelector"]["matchLabels"].update(
            {f"k{i}": "v" for i in range(100_000)}
        ),
        lambda w: w["metadata"].update(name="a-" * 500_000),
        lambda w: w["resource"].update({"x" * 1_000_000: 1}),
        lambda w: w["resource"].update(preferredNodes=["-"] * 100_000),
        lambda w: w.update(tuning=nested(10_000)),
        lambda w: w["resource"].update(labelSelector=nested(10_000)),
    ],
    ids=[
        "a preset's name of 10 MB",
        "a strength of 1 MB",
        "a label of 1 MB",
        "100,000 labels",
        "a name of 1 MB",
        "a field of 1 MB",
        "100,000 wrong nodes",
        "tuning 20,000 levels deep",
        "a selector 20,000 levels deep",
    ],
)
def test_an_object_of_any_size_is_refused_within_a_second(change: Callable[[dict[str, Any]], object]) -> None:
    obj = changed(change)
    begun = time.perf_counter()
    check_refusal(InvalidWorkspace(problems_of(obj)))
    assert time.perf_counter() - begun < 1


def test_a_template_of_any_depth_is_kept_as_it_is() -> None:
    template = {"spec": {"containers": [{"name": "a"}], "volumes": nested(10_000)}}
    workspace = parse_workspace(changed(lambda w: w.update(inference={"template": template})))
    assert workspace.inference is not None
    assert workspace.inference.template is not None
    assert workspace.inference.template["spec"]["volumes"] is template["spec"]["volumes"]
