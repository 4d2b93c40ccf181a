"""Whatever a client sends, the embedded API server answers it, and never with an error of its own."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from berth_local.apiserver import ApiServer
from control_plane.api_session import Api, api_session
from control_plane.transcript import (
    APPLY,
    BOATS,
    DEFINITION,
    JSON_PATCH,
    MERGE,
    NAMESPACE,
    NAMESPACES,
    STRATEGIC,
    boat,
)

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
KEYS = st.sampled_from(
    [
        "apiVersion", "kind", "metadata", "name", "labels", "finalizers", "ownerReferences", "managedFields", "spec",
        "status", "sail", "crew", "parts", "tags", "extra", "template", "selector", "containers", "env", "ports",
        "$patch", "$retainKeys", "$setElementOrder/containers", "$deleteFromPrimitiveList/finalizers", "x y", "",
        "\u00e9\U0001f600",
    ]
)  # fmt: skip
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | KEYS
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=25,
)
POINTERS = st.lists(KEYS | st.sampled_from(["0", "-", "99"]), max_size=4).map(
    lambda parts: "/" + "/".join(parts)
)
OPERATIONS = st.fixed_dictionaries(
    {
        "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "nonsense"]),
        "path": POINTERS,
    },
    optional={"value": VALUES, "from": POINTERS},
)
PATCHES = st.one_of(
    st.tuples(st.just(MERGE), VALUES),
    st.tuples(st.just(STRATEGIC), VALUES),
    st.tuples(st.just(APPLY), VALUES),
    st.tuples(st.just(JSON_PATCH), st.lists(OPERATIONS, max_size=4) | VALUES),
)
WORKLOAD = {
    "metadata": {"name": "d"},
    "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        },
    },
}


def _identified(value: Any, path: str) -> Any:
    """Give half of the bodies an identity that fits, so that they get past the first door."""
    if not isinstance(value, dict) or len(str(value)) % 2:
        return value
    kind = ("harbor.example/v1", "Boat") if path == BOATS else ("apps/v1", "Deployment")
    return {**value, "apiVersion": kind[0], "kind": kind[1]}


async def _send(api: Api, path: str, creation: Any, patch: tuple[str, Any]) -> list[tuple[int, Any]]:
    name = "/b" if path == BOATS else "/d"
    kind, change = patch
    change = _identified(change, path) if kind == APPLY else change
    return [
        await api.ask("POST", path, _identified(creation, path)),
        await api.ask("PATCH", path + name, change, kind, fieldManager="fuzz"),
        await api.ask("PATCH", f"{path}{name}/status", change, kind, fieldManager="fuzz"),
        await api.ask("PUT", path + name, _identified(creation, path)),
    ]


@pytest.fixture(scope="module")
def runner() -> Any:
    with asyncio.Runner() as runner:
        server = ApiServer(crds=[DEFINITION])
        runner.run(server.start())
        session = api_session(server)
        api = runner.run(session.__aenter__())
        runner.run(api.create(NAMESPACES, {"metadata": {"name": NAMESPACE}}))
        yield runner, api
        runner.run(session.__aexit__(None, None, None))
        runner.run(server.stop())


@pytest.mark.parametrize(
    ("path", "seed"), [(BOATS, boat("b", sail="ab")), (DEPLOYMENTS, WORKLOAD)], ids=["custom", "built-in"]
)
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(creation=VALUES, patch=PATCHES)
def test_no_body_breaks_the_server(
    runner: Any, path: str, seed: Any, creation: Any, patch: tuple[str, Any]
) -> None:
    loop, api = runner
    loop.run(api.ask("POST", path, seed))
    for status, answer in loop.run(_send(api, path, creation, patch)):
        # Server-side apply words a field that it cannot place as 500, here as on a cluster.
        typed = isinstance(answer, dict) and "failed to create typed patch object" in str(
            answer.get("message")
        )
        assert status < 500 or typed, answer
    status, listed = loop.run(api.ask("GET", path))
    assert status == 200
    assert all(one["metadata"]["name"] for one in listed["items"])
