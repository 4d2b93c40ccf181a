"""What is served, for clients that ask: /api, /apis, each group's versions and resources."""

from collections.abc import Iterator

from berth_local.apiserver.kinds.registry import Registry
from berth_local.apiserver.kinds.resource import Resource
from berth_local.apiserver.negotiation import accepted
from berth_local.apiserver.objects import Object, api_version

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
VERSION: Object = {
    "major": "1",
    "minor": "32",
    "gitVersion": "v1.32.0-berth",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "CPython",
    "platform": "berth/embedded",
}
"""The Kubernetes version whose API is served; clients take their skew from it."""

_SCALE = {"group": "autoscaling", "version": "v1", "kind": "Scale"}


def wants_aggregated(header: str) -> bool:
    """Say whether a client would rather have everything in one answer (discovery v2)."""
    return any(
        one.parameters.get("as") == "APIGroupDiscoveryList" and one.parameters.get("v") == "v2"
        for one in accepted(header)
    )


def api_versions(host: str) -> Object:
    """Answer /api."""
    addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": host}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}


def group_list(registry: Registry) -> Object:
    """Answer /apis."""
    groups = [_group(name, versions) for name, versions in registry.groups().items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(registry: Registry, name: str) -> Object | None:
    """Answer /apis/<group>; None when there is no such group."""
    versions = registry.groups().get(name) if name else None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)} if versions else None


def _group(name: str, versions: list[str]) -> Object:
    listed = [{"groupVersion": api_version(name, one), "version": one} for one in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def resource_list(registry: Registry, group_name: str, version: str) -> Object | None:
    """Answer /api/v1 and /apis/<group>/<version>; None when that is not served."""
    if version not in registry.groups().get(group_name, ()):
        return None
    resources = [entry for one in registry.in_version(group_name, version) for entry in _entries(one)]
    if group_name == "authorization.k8s.io":
        resources = [_REVIEW]
    version_name = api_version(group_name, version)
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": version_name,
        "resources": resources,
    }


_REVIEW: Object = {
    "name": "selfsubjectaccessreviews",
    "singularName": "selfsubjectaccessreview",
    "namespaced": False,
    "kind": "SelfSubjectAccessReview",
    "verbs": ["create"],
}


def _entries(resource: Resource) -> Iterator[Object]:
    entry: Object = {
        "name": resource.plural,
        "singularName": resource.singular or resource.kind.lower(),
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    yield entry
    for name in resource.subresources:
        yield {
            "name": f"{resource.plural}/{name}",
            "singularName": "",
            "namespaced": resource.namespaced,
            **_kind_of(resource, name),
            "verbs": subresource_verbs(name),
        }


def subresource_verbs(name: str) -> list[str]:
    """Return what can be done with a subresource."""
    return {"log": ["get"], "binding": ["create"]}.get(name, ["get", "patch", "update"])


def _kind_of(resource: Resource, subresource: str) -> Object:
    if subresource == "scale":
        return dict(_SCALE)
    return {"kind": "Binding" if subresource == "binding" else resource.kind}


def aggregated(registry: Registry, *, core: bool) -> Object:
    """Answer /api (`core`) or /apis in discovery v2's form."""
    items = []
    for name, versions in registry.groups().items():
        if (name == "") is not core:
            continue
        items.append(
            {
                "metadata": {"name": name} if name else {},
                "versions": [
                    {
                        "version": version,
                        "resources": _aggregated_version(registry, name, version),
                        "freshness": "Current",
                    }
                    for version in versions
                ],
            }
        )
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _aggregated_version(registry: Registry, group_name: str, version: str) -> list[Object]:
    if group_name == "authorization.k8s.io":
        return [_aggregated_entry(_REVIEW, group_name, version)]
    return [_aggregated_resource(one) for one in registry.in_version(group_name, version)]


def _aggregated_entry(entry: Object, group_name: str, version: str) -> Object:
    result: Object = {
        "resource": entry["name"],
        "responseKind": {"group": group_name, "version": version, "kind": entry["kind"]},
        "scope": "Namespaced" if entry["namespaced"] else "Cluster",
        "singularResource": entry["singularName"],
        "verbs": entry["verbs"],
    }
    return result | {key: entry[key] for key in ("shortNames", "categories") if key in entry}


def _aggregated_resource(resource: Resource) -> Object:
    main, *below = _entries(resource)
    result = _aggregated_entry(main, resource.group, resource.version)
    if below:
        result["subresources"] = [
            {
                "subresource": entry["name"].partition("/")[2],
                "responseKind": {
                    "group": entry.get("group", resource.group),
                    "version": entry.get("version", resource.version),
                    "kind": entry["kind"],
                },
                "verbs": entry["verbs"],
            }
            for entry in below
        ]
    return result
