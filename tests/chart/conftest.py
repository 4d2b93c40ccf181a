"""The chart, rendered by Helm's own engine (the Helm SDK in a shared library, reached through ctypes).

The library is 85 MB and starts the Go runtime, so it is loaded by the first test that renders, not when
tests are collected.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from helm_python import Chart

REPOSITORY = Path(__file__).resolve().parents[2]
CHART = REPOSITORY / "charts" / "berth"

Manifest = dict[str, Any]


class StrictLoader(yaml.CSafeLoader):
    """Refuses a key that stands twice: YAML parsers disagree on which one counts.

    It reads with libyaml: the CRD alone takes PyYAML's own parser a third of a second, in every variant.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"keys stand twice: {twice}", node.start_mark)
        return super().construct_mapping(node, deep)


def is_smoke_test(manifest: Manifest) -> bool:
    """Whether a manifest belongs to what `helm test` makes and removes."""
    return bool(manifest["metadata"].get("annotations", {}).get("helm.sh/hook") == "test")


@pytest.fixture(scope="session")
def helm_chart() -> Iterator[Chart]:
    from helm_python import Chart

    with Chart.load(CHART) as chart:
        yield chart


@pytest.fixture(scope="session")
def render_text(helm_chart: Chart) -> Callable[..., dict[str, str]]:
    """Values to {template's file name: rendered text}."""

    def render(
        values: Manifest | None = None, *, name: str = "berth", namespace: str = "berth-system"
    ) -> dict[str, str]:
        rendered = helm_chart.render(values or {}, name=name, namespace=namespace)
        return {path.partition("/templates/")[2]: text for path, text in rendered.items()}

    return render


@pytest.fixture(scope="session")
def render(render_text: Callable[..., dict[str, str]]) -> Callable[..., list[Manifest]]:
    """Values to manifests, in the order of the templates' names. Each caller gets manifests of its own."""
    known: dict[str, bytes] = {}

    def render(values: Manifest | None = None, **release: str) -> list[Manifest]:
        question = json.dumps([values, release], sort_keys=True)
        if question not in known:
            texts = render_text(values, **release)
            known[question] = pickle.dumps(
                [
                    manifest
                    for name in sorted(texts)
                    if name.endswith(".yaml")
                    for manifest in yaml.load_all(texts[name], Loader=StrictLoader)
                    if manifest is not None
                ]
            )
        manifests: list[Manifest] = pickle.loads(known[question])
        return manifests

    return render


@pytest.fixture(scope="session")
def render_one(render: Callable[..., list[Manifest]]) -> Callable[..., Manifest]:
    """Kind and values to the one manifest of that kind, the smoke test's left aside."""

    def render_one(kind: str, values: Manifest | None = None, **release: str) -> Manifest:
        [manifest] = [m for m in render(values, **release) if m["kind"] == kind and not is_smoke_test(m)]
        return manifest

    return render_one
