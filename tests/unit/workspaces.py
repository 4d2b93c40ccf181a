"""A Workspace that is right in every field, and what to expect of one that is not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from berth_operator.api.workspace import InvalidWorkspace, Problem, parse_workspace

IMAGE = "registry.example.com/image:1"
VALID: dict[str, Any] = {
    "apiVersion": "kaito.sh/v1beta1",
    "kind": "Workspace",
    "metadata": {
        "name": "w",
        "namespace": "models",
        "uid": "8f0f6c5e",
        "generation": 3,
        "annotations": {"kaito.sh/enablelb": "True"},
        "managedFields": [{"manager": "kubectl"}],
    },
    "resource": {
        "count": 2,
        "instanceType": "Standard_NC24ads_A100_v4",
        "labelSelector": {
            "matchLabels": {"apps": "phi-3", "example.com/pool": ""},
            "matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}],
        },
        "preferredNodes": ["node-1.example"],
    },
    "inference": {
        "preset": {
            "name": "phi-3-mini-4k-instruct",
            "accessMode": "private",
            "presetOptions": {
                "image": IMAGE,
                "imagePullSecrets": ["registry"],
                "modelAccessSecret": "hf-token",
            },
        },
        "config": "settings",
        "adapters": [
            {"source": {"name": "a", "image": IMAGE, "imagePullSecrets": ["registry"]}, "strength": "0.5"},
            {"source": {"name": "b", "volumeSource": {"persistentVolumeClaim": {"claimName": "b"}}}},
        ],
    },
    "status": {
        "observedGeneration": 2,
        "state": "Ready",
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "Serving",
                "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
        ],
    },
}


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    result = copy.deepcopy(VALID)
    change(result)
    return result


def problems_of(obj: Any) -> tuple[Problem, ...]:
    with pytest.raises(InvalidWorkspace) as caught:
        parse_workspace(obj)
    return caught.value.problems


def check_refusal(refusal: InvalidWorkspace) -> None:
    """What a condition's message must be: told, short, in one line, and writable as UTF-8."""
    assert refusal.problems
    text = str(refusal)
    assert len(text.encode()) < 32_768
    assert "\n" not in text
    for words in ("Traceback", "pydantic", "input_value", "Input should", "validation error"):
        assert words not in text
    for problem in refusal.problems:
        assert problem.message
        assert problem.remedy
