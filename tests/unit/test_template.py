"""A pod template of any shape is planned or refused in words."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from berth_operator.api.template import template_problems

TERMS = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"


def template() -> dict[str, Any]:
    expression = {"key": "gpu", "operator": "Exists"}
    required = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    return {
        "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
        "spec": {
            "containers": [{"name": "server", "image": "example.com/server:1"}],
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}},
        },
    }


def put(path: str, value: Any) -> dict[str, Any]:
    """The template with something else at a place."""
    result = copy.deepcopy(template())
    *parents, last = path.split(".")
    inner: Any = result
    for key in parents:
        inner = inner[key]
    inner[last] = value
    return result


def test_a_sound_template_has_no_problem() -> None:
    assert list(template_problems(template())) == []


@pytest.mark.parametrize(
    "path", ["metadata", "metadata.labels", "metadata.annotations", "spec.tolerations", "spec.affinity"]
)
def test_what_is_null_is_as_good_as_left_out(path: str) -> None:
    assert list(template_problems(put(path, None))) == []


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        pytest.param("metadata", "x", 'metadata: "x" is not an object', id="metadata that is text"),
        pytest.param(
            "metadata.labels", ["a"], "metadata.labels: a list is not an object", id="labels in a list"
        ),
        pytest.param("metadata.annotations", 3, "metadata.annotations: 3 is not an object", id="annotations"),
        pytest.param("spec", [], "spec: a list is not an object", id="a spec that is a list"),
        pytest.param("spec.tolerations", "", 'spec.tolerations: "" is not a list', id="tolerations of text"),
        pytest.param(
            "spec.affinity", [{}], "spec.affinity: a list is not an object", id="affinity in a list"
        ),
        pytest.param(f"{TERMS}.nodeSelectorTerms", {}, "an object is not a list", id="terms in an object"),
        pytest.param(
            f"{TERMS}.nodeSelectorTerms",
            [None],
            "nodeSelectorTerms[0]: null is not an object",
            id="a term of null",
        ),
        pytest.param(
            f"{TERMS}.nodeSelectorTerms",
            [{}, {"matchExpressions": "x"}],
            'nodeSelectorTerms[1].matchExpressions: "x" is not a list',
            id="expressions of text",
        ),
        pytest.param("spec.containers", "x", "the template has no containers", id="containers of text"),
    ],
)
def test_a_part_that_berth_adds_to_must_have_its_shape(path: str, value: Any, told: str) -> None:
    problems = list(template_problems(put(path, value)))
    assert any(told in str(problem) for problem in problems)
    assert all(str(problem).startswith("inference.template.") and problem.remedy for problem in problems)
