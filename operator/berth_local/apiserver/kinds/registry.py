"""Which resources are served at this moment."""

from collections.abc import Iterable, Iterator

from berth_local.apiserver.kinds.builtin import builtin_resources
from berth_local.apiserver.kinds.custom import custom_resources
from berth_local.apiserver.kinds.resource import Resource
from berth_local.apiserver.objects import Object, api_version


class Registry:
    """Resources by group, version and plural; custom ones come and go with their definitions."""

    def __init__(self) -> None:
        self._resources: dict[tuple[str, str, str], Resource] = {}
        self._definitions: dict[str, tuple[object, list[Resource]]] = {}
        for resource in builtin_resources():
            self._add(resource)

    def __iter__(self) -> Iterator[Resource]:
        return iter(self._resources.values())

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """Return a resource, or None."""
        return self._resources.get((group, version, plural))

    def get(self, version: str, plural: str) -> Resource:
        """Return a resource that is known to be there, by apiVersion and plural."""
        group, _, short = version.rpartition("/")
        return self._resources[group, short, plural]

    def of_kind(self, version: str, kind: str) -> Resource | None:
        """Return the resource of a kind, by apiVersion, or by its group when that version is not served."""
        group = version.rpartition("/")[0]
        found = [one for one in self if one.group == group and one.kind == kind]
        exact = [one for one in found if one.api_version == version]
        return next(iter(exact or found), None)

    def of_table(self, table: str) -> Resource | None:
        """Return a resource whose objects a table holds."""
        return next((one for one in self if one.table == table and not one.outgoing), None)

    def define(self, definition: Object) -> None:
        """Serve what a CustomResourceDefinition says, in place of what it said before."""
        name = definition["metadata"]["name"]
        known = self._definitions.get(name)
        if known is not None and known[0] == definition["spec"]:
            return
        self.forget(name)
        resources = custom_resources(definition)
        self._definitions[name] = (definition["spec"], resources)
        for resource in resources:
            self._add(resource)

    def forget(self, name: str) -> None:
        """Serve a definition's resources no longer."""
        _, resources = self._definitions.pop(name, (None, []))
        for resource in resources:
            self._resources.pop((resource.group, resource.version, resource.plural), None)

    def groups(self) -> dict[str, list[str]]:
        """Return each group's versions, the preferred first; the core group is named ""."""
        found: dict[str, set[str]] = {}
        for resource in self:
            found.setdefault(resource.group, set()).add(resource.version)
        found.setdefault("authorization.k8s.io", set()).add("v1")
        return {group: sort_versions(versions) for group, versions in sorted(found.items())}

    def in_version(self, group: str, version: str) -> list[Resource]:
        """Return the resources of a group's version, by name."""
        wanted = api_version(group, version)
        return sorted((one for one in self if one.api_version == wanted), key=lambda one: one.plural)

    def _add(self, resource: Resource) -> None:
        self._resources[resource.group, resource.version, resource.plural] = resource


def sort_versions(versions: Iterable[str]) -> list[str]:
    """Sort versions as the API server prefers them: v2, v1, v1beta2, v1beta1, v1alpha1, others by name."""

    def rank(version: str) -> tuple[int, int, int, str]:
        rest = version.removeprefix("v")
        for place, word in enumerate(("alpha", "beta"), start=1):
            major, found, minor = rest.partition(word)
            if found and major.isdecimal() and (minor or "0").isdecimal():
                return (-place, -int(major), -int(minor or "0"), version)
        if version.startswith("v") and rest.isdecimal():
            return (-3, -int(rest), 0, version)
        return (0, 0, 0, version)

    return sorted(versions, key=rank)
