"""What a URL path asks for: which resource, which namespace, which object, which subresource."""

from dataclasses import dataclass

from berth_local.apiserver.kinds.registry import Registry
from berth_local.apiserver.kinds.resource import Resource
from berth_local.apiserver.store import Key


@dataclass(frozen=True, slots=True)
class Target:
    """The place that a request is about; namespace, name and subresource are empty where they are not given."""

    resource: Resource
    namespace: str
    name: str
    subresource: str

    @property
    def key(self) -> Key:
        """Where the object is stored."""
        return self.namespace, self.name


def target(registry: Registry, parts: list[str]) -> Target | None:
    """Read the decoded parts of a path below /api or /apis; None when it names nothing that is served."""
    if parts[0] == "api":
        group, rest = "", parts[1:]
    else:
        group, rest = parts[1] if len(parts) > 1 else "", parts[2:]
    if len(rest) < 2:
        return None
    version, rest = rest[0], rest[1:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    resource = registry.find(group, version, rest[0])
    if resource is None or len(rest) > 3 or (namespace and not resource.namespaced):
        return None
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    if subresource and subresource not in resource.subresources:
        return None
    if resource.namespaced and name and not namespace:
        return None
    return Target(resource, namespace, name, subresource)
