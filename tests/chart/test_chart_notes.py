"""NOTES.txt: the next three commands, for the namespace and the images that were installed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml

RenderText = Callable[..., dict[str, str]]


def test_the_next_three_commands_are_apply_wait_and_ask(render_text: RenderText) -> None:
    notes = render_text()["NOTES.txt"]
    commands = re.findall(r"^(kubectl \S+|curl)", notes, re.MULTILINE)
    assert commands == ["kubectl apply", "kubectl wait", "kubectl port-forward", "curl"]


def test_the_workspace_to_apply_is_a_whole_manifest(render_text: RenderText) -> None:
    notes = render_text()["NOTES.txt"]
    manifest = notes.split("<<EOF\n")[1].split("\nEOF\n")[0]
    assert yaml.safe_load(manifest) == {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": "tiny-chat"},
        "resource": {"labelSelector": {"matchLabels": {"kubernetes.io/os": "linux"}}},
        "inference": {"preset": {"name": "tiny-chat"}},
    }


@pytest.mark.parametrize(
    ("values", "namespace"),
    [
        ({}, "berth-system"),
        ({"scope": "namespace"}, "berth-system"),
        ({"scope": "namespace", "namespaces": ["team-b", "team-a"]}, "team-a"),
    ],
    ids=["cluster scope", "the release's namespace", "a namespace that is served"],
)
def test_commands_name_a_namespace_that_the_operator_serves(
    render_text: RenderText, values: dict[str, Any], namespace: str
) -> None:
    notes = render_text(values)["NOTES.txt"]
    assert set(re.findall(r"^kubectl \S+ --namespace (\S+)", notes, re.MULTILINE)) == {namespace}
