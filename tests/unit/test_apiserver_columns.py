"""What `kubectl get` shows: ages, pods in a word, paths of printer columns."""

from typing import Any

import pytest

from berth_local.apiserver.kinds.durations import age, duration
from berth_local.apiserver.kinds.jsonpath import compile_path
from berth_local.apiserver.kinds.podcolumns import pod_ready, pod_restarts, pod_status
from berth_local.apiserver.kinds.registry import sort_versions


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (600, "10m"),
        (10_799, "179m"),
        (10_800, "3h"),
        (12_000, "3h20m"),
        (28_800, "8h"),
        (172_799, "47h"),
        (172_800, "2d"),
        (180_000, "2d2h"),
        (691_200, "8d"),
        (63_072_000, "2y"),
        (63_158_400, "2y1d"),
        (252_288_000, "8y"),
    ],
)
def test_spans_are_shown_as_kubectl_shows_them(seconds: int, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("moment", "text"), [(None, "<unknown>"), ("", "<unknown>"), ("noon", "<invalid>")])
def test_ages_of_no_time(moment: Any, text: str) -> None:
    assert age(moment) == text


def pod(*statuses: Any, phase: str = "Running", **more: Any) -> dict[str, Any]:
    containers = [{"name": str(index)} for index, _ in enumerate(statuses)] or [{"name": "0"}]
    status = {"phase": phase, "containerStatuses": list(statuses), **more.pop("status", {})}
    return {"metadata": {**more}, "spec": {"containers": containers}, "status": status}


RUNNING = {"ready": True, "state": {"running": {}}}


@pytest.mark.parametrize(
    ("body", "ready", "status", "restarts"),
    [
        (pod(phase="Pending"), "0/1", "Pending", "0"),
        (
            pod({"state": {"waiting": {"reason": "ContainerCreating"}}}, phase="Pending"),
            "0/1",
            "ContainerCreating",
            "0",
        ),
        (pod(RUNNING), "1/1", "Running", "0"),
        (
            pod({"restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}),
            "0/1",
            "CrashLoopBackOff",
            "3",
        ),
        (pod({"state": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}), "0/1", "OOMKilled", "0"),
        (pod({"state": {"terminated": {"exitCode": 2}}}), "0/1", "ExitCode:2", "0"),
        (pod({"state": {"terminated": {"signal": 9}}}), "0/1", "Signal:9", "0"),
        (pod(RUNNING, deletionTimestamp="2026-01-01T00:00:00Z"), "1/1", "Terminating", "0"),
        (pod(status={"reason": "Evicted"}, phase="Failed"), "0/1", "Evicted", "0"),
        (
            pod({"state": {"terminated": {"reason": "Completed", "exitCode": 0}}}, phase="Succeeded"),
            "0/1",
            "Completed",
            "0",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and not value[0].isdigit() else "",
)
def test_a_pod_in_a_word(body: Any, ready: str, status: str, restarts: str) -> None:
    assert (pod_ready(body), pod_status(body), pod_restarts(body)) == (ready, status, restarts)


CONDITIONS = {
    "status": {"conditions": [{"type": "A", "status": "True"}, {"type": "B", "status": "False", "n": 3}]}
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ('.status.conditions[?(@.type=="B")].status', ["False"]),
        (".status.conditions[?(@.type=='B')].status", ["False"]),
        ("{.status.conditions[?(@.n==3)].type}", ["B"]),
        ('.status.conditions[?(@.type!="B")].type', ["A"]),
        (".status.conditions[?(@.n)].type", ["B"]),
        (".status.conditions[*].type", ["A", "B"]),
        (".status.conditions[-1].type", ["B"]),
        (".status.conditions[7].type", []),
        (".status.nothing.at.all", []),
        ("['status'].conditions[0].type", ["A"]),
        (r".status.a\.b", []),
    ],
)
def test_paths_of_printer_columns(path: str, found: list[Any]) -> None:
    assert compile_path(path)(CONDITIONS) == found


@pytest.mark.parametrize("path", ["status", ".a[", ".a[?(@.b>1)]", ".a[1:2]", ".."])
def test_paths_that_are_not_understood_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="not understood"):
        compile_path(path)


def test_versions_are_sorted_by_maturity() -> None:
    assert sort_versions(["v1alpha1", "v1", "other", "v2", "v1beta2", "v1beta10"]) == [
        "v2",
        "v1",
        "v1beta10",
        "v1beta2",
        "v1alpha1",
        "other",
    ]
