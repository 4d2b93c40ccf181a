"""Label and field selectors."""

from typing import Any

import pytest

from berth_local.apiserver.errors import ApiError
from berth_local.apiserver.selectors import field_selector, label_selector

LABELS = {"app": "web", "tier": "1", "berth.dev/x": "y"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("app=web", True),
        ("app==web", True),
        ("app = api", False),
        ("app!=web", False),
        ("none!=web", True),
        ("app in (web, api)", True),
        ("app in (api)", False),
        ("app notin (api),tier", True),
        ("none notin (api)", True),
        ("berth.dev/x", True),
        ("!berth.dev/x", False),
        ("!none,app=web", True),
        ("tier>0,tier<2", True),
        ("app>0", False),
        ("none=", False),
        ("none!=", True),
    ],
)
def test_label_selectors(text: str, matches: bool) -> None:
    selector = label_selector(text)
    assert (selector is None or selector({"metadata": {"labels": LABELS}})) is matches


@pytest.mark.parametrize("text", ["a b", "a in b", "=x", "a=b=c", ",", "a in (b", "a=b c"])
def test_label_selectors_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(ApiError) as refused:
        label_selector(text)
    assert refused.value.code == 400


POD = {"metadata": {"name": "p", "namespace": "n"}, "spec": {"nodeName": "x"}, "status": {"phase": "Running"}}


@pytest.mark.parametrize(
    ("kind", "text", "body", "matches"),
    [
        ("pods", "metadata.name=p", POD, True),
        ("pods", "spec.nodeName=x,status.phase!=Running", POD, False),
        ("pods", "spec.nodeName=", POD, False),
        ("pods", "status.podIP=", POD, True),
        (
            "events",
            "involvedObject.name=a,type=Normal",
            {"involvedObject": {"name": "a"}, "type": "Normal"},
            True,
        ),
        ("nodes", "spec.unschedulable=false", {"spec": {}}, True),
        ("events", "source=berth", {"source": {"component": "berth"}}, True),
    ],
)
def test_field_selectors(kind: str, text: str, body: Any, matches: bool) -> None:
    selector = field_selector(text, kind)
    assert selector is not None
    assert selector(body) is matches


def test_a_custom_kind_can_be_selected_by_the_fields_that_it_names() -> None:
    selector = field_selector("spec.sail=ab", "boats.harbor.example", ("spec.sail",))
    assert selector is not None
    assert selector({"spec": {"sail": "ab"}})


@pytest.mark.parametrize("text", ["spec.replicas=1", "status.phase=x", "nonsense"])
def test_other_fields_cannot_be_selected_by(text: str) -> None:
    with pytest.raises(ApiError) as refused:
        field_selector(text, "deployments.apps")
    assert refused.value.code == 400
