"""What the watches have told so far: the Workspaces and the objects made for them, keyed by Workspace."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from berth_operator.api.names import API_VERSION, LABEL_WORKSPACE, PLURAL
from berth_operator.kube import Resource
from berth_operator.node_cache import NodeCache
from berth_operator.plan.group import peers_name
from berth_operator.plan.observed import Observed
from berth_operator.slim import slim, slim_pod, slim_replica_set

Object = dict[str, Any]
Key = tuple[str, str]
"""A Workspace's namespace and name."""

WORKSPACES = Resource(API_VERSION, PLURAL)
DEPLOYMENTS = Resource("apps/v1", "deployments")
STATEFUL_SETS = Resource("apps/v1", "statefulsets")
SERVICES = Resource("v1", "services")
PODS = Resource("v1", "pods")
REPLICA_SETS = Resource("apps/v1", "replicasets")
NODES = Resource("v1", "nodes")
EVENTS = Resource("v1", "events")
CONFIG_MAPS = Resource("v1", "configmaps")

WATCHED: tuple[tuple[Resource, str], ...] = (
    (WORKSPACES, ""),
    (DEPLOYMENTS, LABEL_WORKSPACE),
    (STATEFUL_SETS, LABEL_WORKSPACE),
    (SERVICES, LABEL_WORKSPACE),
    (REPLICA_SETS, LABEL_WORKSPACE),
    (NODES, ""),
    (PODS, LABEL_WORKSPACE),
)
"""Every kind that is watched, with the label that its objects must carry ("" for all of them)."""

OPTIONAL = frozenset({STATEFUL_SETS, REPLICA_SETS, NODES})
"""Kinds that the operator does without where it may not read them: a diagnosis says less then, and under the role of a
chart from before there were groups there are none. A Role cannot grant nodes, so an operator of single namespaces never
has them."""

GATHERED = frozenset({PODS, REPLICA_SETS})
"""Kinds of which a Workspace has any number, under names of their own."""

SLIM: dict[Resource, Callable[[Object], Object]] = {PODS: slim_pod, REPLICA_SETS: slim_replica_set}
"""What is kept of a kind, where that is not `slim`."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the cache held of one Workspace at one moment."""

    workspace: Object | None
    observed: Observed


def key_of(resource: Resource, obj: Object) -> Key:
    """Return the Workspace that an object is, or belongs to."""
    meta = obj["metadata"]
    name = meta["name"] if resource is WORKSPACES else (meta.get("labels") or {}).get(LABEL_WORKSPACE, "")
    return str(meta["namespace"]), str(name)


class ClusterCache:
    """The latest known version of each object. Fed by watches and by the answers to our own writes."""

    def __init__(self) -> None:
        self._objects: dict[Resource, dict[tuple[str, str], Object]] = {
            resource: {} for resource, _ in WATCHED if resource is not NODES
        }
        self._gathered: dict[Resource, dict[Key, set[tuple[str, str]]]] = {
            resource: {} for resource in GATHERED
        }
        self.nodes = NodeCache()

    def put(self, resource: Resource, obj: Object) -> Key:
        """Keep an object, unless a newer version of it is already known; return its Workspace's key."""
        meta = obj["metadata"]
        identity = (str(meta["namespace"]), str(meta["name"]))
        known = self._objects[resource].get(identity)
        key = key_of(resource, obj)
        if known is not None and _is_older(obj, known):
            return key
        self._objects[resource][identity] = SLIM.get(resource, slim)(obj)
        if resource in GATHERED:
            self._gathered[resource].setdefault(key, set()).add(identity)
        return key

    def remove(self, resource: Resource, obj: Object) -> Key:
        """Forget an object; return its Workspace's key."""
        meta = obj["metadata"]
        identity = (str(meta["namespace"]), str(meta["name"]))
        key = key_of(resource, obj)
        known = self._objects[resource].get(identity)
        # A deletion reported late must not remove an object of the same name that came after it.
        if known is not None and known["metadata"].get("uid") == meta.get("uid"):
            del self._objects[resource][identity]
            if resource in GATHERED:
                self._forget(resource, key, identity)
        return key

    def replace(
        self, resource: Resource, objects: Iterable[Object], known_before: dict[tuple[str, str], str]
    ) -> set[Key]:
        """Take a full list as the truth; return the keys of all that is in it and of all that it shows to be gone.

        `known_before` is what `versions` gave before the list was asked for: an object that changed since then
        is newer than the list and stays.
        """
        keys, listed = set(), set()
        for obj in objects:
            listed.add((str(obj["metadata"]["namespace"]), str(obj["metadata"]["name"])))
            keys.add(self.put(resource, obj))
        for identity, version in known_before.items():
            known = self._objects[resource].get(identity)
            if (
                identity not in listed
                and known is not None
                and known["metadata"].get("resourceVersion") == version
            ):
                keys.add(self.remove(resource, known))
        return keys

    def versions(self, resource: Resource) -> dict[tuple[str, str], str]:
        """Return the resourceVersion of every known object of a kind."""
        return {
            identity: str(obj["metadata"].get("resourceVersion", ""))
            for identity, obj in self._objects[resource].items()
        }

    def snapshot(self, key: Key) -> Snapshot:
        """Return what is known of one Workspace."""
        return Snapshot(
            self._objects[WORKSPACES].get(key),
            Observed(
                self._objects[DEPLOYMENTS].get(key),
                self._objects[SERVICES].get(key),
                self._gather(PODS, key),
                self._gather(REPLICA_SETS, key),
                self.nodes.all,
                stateful_set=self._objects[STATEFUL_SETS].get(key),
                peers=self._objects[SERVICES].get((key[0], peers_name(key[1]))),
            ),
        )

    def all_pods(self) -> tuple[Object, ...]:
        """Return the pods of every Workspace."""
        return tuple(self._objects[PODS].values())

    def concerned_by_nodes(self) -> set[Key]:
        """Return the Workspaces that a change of nodes may concern: those that do not serve, and those that may stop.

        A node that fails takes its pods' readiness along, which the pods' own watch tells of.
        """
        return {key for key, obj in self._objects[WORKSPACES].items() if not _serves(obj)}

    def _gather(self, resource: Resource, key: Key) -> tuple[Object, ...]:
        found = (self._objects[resource].get(identity) for identity in self._gathered[resource].get(key, ()))
        return tuple(obj for obj in found if obj is not None)

    def _forget(self, resource: Resource, key: Key, identity: tuple[str, str]) -> None:
        gathered = self._gathered[resource].get(key, set())
        gathered.discard(identity)
        if not gathered:
            self._gathered[resource].pop(key, None)


def _serves(workspace: Object) -> bool:
    status = workspace.get("status")
    return isinstance(status, dict) and status.get("state") == "Ready"


def _is_older(obj: Object, known: Object) -> bool:
    """Whether `obj` is a version before `known` of the same object.

    Resource versions of one object grow and may be compared as numbers (Kubernetes 1.35 made that a promise;
    earlier ones keep it in practice); versions that are not numbers are taken as they come.
    """
    mine, theirs = obj["metadata"], known["metadata"]
    if mine.get("uid") != theirs.get("uid"):
        return False
    try:
        return int(mine["resourceVersion"]) < int(theirs["resourceVersion"])
    except (KeyError, ValueError):
        return False
