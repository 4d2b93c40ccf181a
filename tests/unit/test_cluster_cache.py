"""The cache: the latest known version of each object, whatever order the news comes in."""

import json
from typing import Any

from berth_operator.cluster_cache import DEPLOYMENTS, PODS, REPLICA_SETS, WORKSPACES, ClusterCache

KEY = ("ns", "ws")


def obj(version: int, name: str = "ws", uid: str = "u", **more: Any) -> dict[str, Any]:
    labels = {"kaito.sh/workspace": "ws"}
    meta = {"namespace": "ns", "name": name, "uid": uid, "resourceVersion": str(version), "labels": labels}
    return {"metadata": {**meta, "managedFields": [1]}, **more}


def test_an_older_version_that_comes_late_changes_nothing() -> None:
    cache = ClusterCache()
    cache.put(WORKSPACES, obj(9, mark="new"))
    cache.put(WORKSPACES, obj(7, mark="old"))
    workspace = cache.snapshot(KEY).workspace
    assert workspace is not None
    assert workspace["mark"] == "new"


def test_a_new_object_of_the_same_name_replaces_the_old_one() -> None:
    cache = ClusterCache()
    cache.put(WORKSPACES, obj(9, uid="first"))
    cache.put(WORKSPACES, obj(3, uid="second"))
    workspace = cache.snapshot(KEY).workspace
    assert workspace is not None
    assert workspace["metadata"]["uid"] == "second"


def test_a_late_deletion_does_not_remove_the_successor() -> None:
    cache = ClusterCache()
    cache.put(DEPLOYMENTS, obj(1, uid="first"))
    cache.put(DEPLOYMENTS, obj(5, uid="second"))
    assert cache.remove(DEPLOYMENTS, obj(4, uid="first")) == KEY
    assert cache.snapshot(KEY).observed.deployment is not None


def test_pods_gather_under_their_workspace_and_leave_it() -> None:
    cache = ClusterCache()
    for name in ("p1", "p2"):
        assert cache.put(PODS, obj(1, name)) == KEY
    cache.remove(PODS, obj(1, "p1"))
    assert [pod["metadata"]["name"] for pod in cache.snapshot(KEY).observed.pods] == ["p2"]


def test_a_list_shows_what_is_gone() -> None:
    cache = ClusterCache()
    cache.put(WORKSPACES, obj(1))
    assert cache.replace(WORKSPACES, [], cache.versions(WORKSPACES)) == {KEY}
    assert cache.snapshot(KEY).workspace is None


def test_what_changed_while_the_list_was_on_its_way_stays() -> None:
    cache = ClusterCache()
    cache.put(WORKSPACES, obj(1))
    known = cache.versions(WORKSPACES)
    cache.put(WORKSPACES, obj(2))
    cache.replace(WORKSPACES, [], known)
    assert cache.snapshot(KEY).workspace is not None


def test_managed_fields_are_not_kept() -> None:
    cache = ClusterCache()
    cache.put(WORKSPACES, obj(1))
    workspace = cache.snapshot(KEY).workspace
    assert workspace is not None
    assert "managedFields" not in workspace["metadata"]


def node(
    ready: str = "True", heartbeat: str = "10:00", labels: dict[str, str] | None = None
) -> dict[str, Any]:
    condition = {"type": "Ready", "status": ready, "lastHeartbeatTime": heartbeat}
    return {
        "metadata": {"name": "n1", "resourceVersion": heartbeat, "labels": labels or {}},
        "spec": {},
        "status": {"conditions": [condition], "images": ["large"], "allocatable": {"cpu": "4"}},
    }


def test_a_nodes_heartbeat_is_no_change_and_its_labels_are() -> None:
    cache = ClusterCache()
    assert cache.nodes.put(node())
    assert not cache.nodes.put(node(heartbeat="10:05"))
    assert cache.nodes.put(node(ready="Unknown"))
    assert cache.nodes.put(node(labels={"apps": "llm"}))


def test_nodes_are_unknown_until_they_were_listed() -> None:
    cache = ClusterCache()
    cache.put(WORKSPACES, obj(1))
    assert cache.snapshot(KEY).observed.nodes is None
    assert cache.nodes.replace([node()])
    assert not cache.nodes.replace([node(heartbeat="10:05")])
    nodes = cache.snapshot(KEY).observed.nodes
    assert nodes is not None
    assert "images" not in nodes[0]["status"]


def test_a_change_of_nodes_concerns_the_workspaces_that_do_not_serve() -> None:
    cache = ClusterCache()
    cache.put(WORKSPACES, obj(1, status={"state": "Ready"}))
    cache.put(WORKSPACES, obj(1, "stuck", "v", status={"state": "Pending"}))
    cache.put(WORKSPACES, obj(1, "odd", "w", status="no status"))
    assert cache.concerned_by_nodes() == {("ns", "stuck"), ("ns", "odd")}


def test_of_replica_sets_the_template_is_not_kept() -> None:
    cache = ClusterCache()
    cache.put(REPLICA_SETS, obj(1, "ws-1", spec={"replicas": 2, "template": {"large": True}}))
    (kept,) = cache.snapshot(KEY).observed.replica_sets
    assert kept["spec"] == {"replicas": 2}


def test_of_a_pods_containers_what_they_run_is_not_kept() -> None:
    cache = ClusterCache()
    container = {"name": "inference", "resources": {}, "startupProbe": {}}
    spec = {"nodeName": "n", "containers": [{**container, "env": [1], "args": [1], "livenessProbe": {}}]}
    cache.put(PODS, obj(1, "p", spec=spec))
    (kept,) = cache.snapshot(KEY).observed.pods
    assert kept["spec"] == {"nodeName": "n", "containers": [container]}


def test_words_that_many_objects_have_are_kept_once() -> None:
    cache = ClusterCache()
    for name in ("p1", "p2"):
        cache.put(PODS, json.loads(json.dumps(obj(1, name, status={"an odd field": "an odd value"}))))
    first, second = (next(iter(pod["status"].items())) for pod in cache.snapshot(KEY).observed.pods)
    assert first[0] is second[0]
    assert first[1] is second[1]
