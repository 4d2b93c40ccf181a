"""Whether a live object already is what was meant."""

from typing import Any

import pytest

from berth_operator.plan.differences import covers, digest


@pytest.mark.parametrize(
    ("live", "wanted", "expected"),
    [
        pytest.param({"a": 1, "b": 2}, {"a": 1}, True, id="what others add is not ours"),
        pytest.param({"b": 2}, {"a": 1}, False, id="a field is gone"),
        pytest.param({"a": 2}, {"a": 1}, False, id="a field was changed"),
        pytest.param({"a": None}, {"a": {}}, False, id="an empty object is not null"),
        pytest.param({"a": True}, {"a": 1}, False, id="true is not one"),
        pytest.param({"a": [1, 2]}, {"a": [1]}, False, id="a plain list is longer"),
        pytest.param({"a": [2, 1]}, {"a": [1, 2]}, False, id="a plain list is in another order"),
        pytest.param({"a": {}}, {"a": [1]}, False, id="a list became an object"),
        pytest.param(
            {"c": [{"name": "sidecar"}, {"name": "x", "image": "i", "extra": 1}]},
            {"c": [{"name": "x", "image": "i"}]},
            True,
            id="a named item is found among others",
        ),
        pytest.param({"c": [{"name": "y"}]}, {"c": [{"name": "x"}]}, False, id="a named item is missing"),
        pytest.param(
            {"c": [{"name": "x", "image": "other"}]},
            {"c": [{"name": "x", "image": "i"}]},
            False,
            id="a named item was changed",
        ),
        pytest.param({"c": []}, {"c": []}, True, id="empty lists"),
        pytest.param({"c": [1]}, {"c": []}, False, id="an empty list is meant to be empty"),
        pytest.param(
            {"requests": {"cpu": "500m", "memory": "1Gi"}},
            {"requests": {"cpu": 0.5, "memory": "1024Mi"}},
            True,
            id="quantities are spelt otherwise",
        ),
        pytest.param({"limits": {"cpu": "2"}}, {"limits": {"cpu": "1"}}, False, id="a quantity was changed"),
        pytest.param({"limits": {}}, {"limits": {"cpu": "1"}}, False, id="a quantity is gone"),
        pytest.param({"limits": None}, {"limits": {"cpu": "1"}}, False, id="quantities became null"),
        pytest.param({"limits": {"cpu": "x"}}, {"limits": {"cpu": "1"}}, False, id="a quantity is none"),
        pytest.param(
            {"c": [{"name": "x"}]}, {"c": [{"name": ["x"]}]}, False, id="a name that is no text is no name"
        ),
    ],
)
def test_a_live_object_covers_what_was_meant(live: Any, wanted: Any, expected: bool) -> None:
    assert covers(live, wanted) is expected


def test_a_digest_depends_on_values_and_not_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1}) != digest({"a": "1"})
