"""Creating and changing objects: what every write goes through, in the order that the API server has."""

import uuid

from berth_local.apiserver.addresses import AddressesUsedUp, AddressPool, is_allowed
from berth_local.apiserver.errors import (
    ApiError,
    Cause,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    not_found,
    too_large,
)
from berth_local.apiserver.fields.managers import Manager, after_update
from berth_local.apiserver.kinds.defaults import set_builtin_defaults
from berth_local.apiserver.kinds.definitions import DEFINITIONS, established, has_rules
from berth_local.apiserver.kinds.events import with_required
from berth_local.apiserver.kinds.registry import Registry
from berth_local.apiserver.kinds.resource import Resource
from berth_local.apiserver.kinds.rules import builtin_faults
from berth_local.apiserver.names import generated, metadata_faults
from berth_local.apiserver.objects import Object, clone, dig, encode, now
from berth_local.apiserver.options import WriteOptions
from berth_local.apiserver.schema.decoding import set_defaults
from berth_local.apiserver.store import Key, Store, Stored

OBJECT_BYTES = 1_572_864
"""The largest object that etcd takes by default (1.5 MiB), and so the largest that works on a cluster."""

_FIXED = (
    "uid",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
)


class Writer:
    """All writes but deletions."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self.store, self.registry = store, registry
        self._addresses = AddressPool()

    def create(
        self, resource: Resource, namespace: str, body: Object, options: WriteOptions,
        managers: list[Object] | None = None,
    ) -> Stored:  # fmt: skip
        """Create an object from a decoded body; ApiError when it may not be. `managers` are an apply's."""
        meta = body["metadata"]
        if meta.get("namespace", namespace) != namespace:
            raise bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        if meta.get("resourceVersion") not in (None, "", "0"):
            raise ApiError(500, "InternalError", "resourceVersion should not be set on objects to be created")
        if namespace:
            meta["namespace"] = namespace
            self._check_namespace(resource, namespace, str(meta.get("name", "")))
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = generated(meta["generateName"])
        for name in (*_FIXED, "resourceVersion"):
            meta.pop(name, None)
        meta |= {"uid": str(uuid.uuid4()), "creationTimestamp": now()}
        if resource.generation:
            meta["generation"] = 1
        if resource.has_status:
            body.pop("status", None)
        if self.store.get(resource.table, (namespace, meta.get("name", ""))):
            raise already_exists(resource.group, resource.plural, meta["name"])
        if managers is not None:
            meta["managedFields"] = managers
        self._finish(resource, body, None, options, "", managed=managers is not None)
        if resource.inert:
            options.warnings.append(
                f"{resource.name} are stored, but nothing in Berth's embedded control plane acts on them"
            )
        return self._store(resource, body, options)

    def replace(
        self, resource: Resource, old: Stored, body: Object, options: WriteOptions, subresource: str = "",
        *, managed: bool = False,
    ) -> Stored:  # fmt: skip
        """Store a decoded body in place of an object, or of its status; unchanged objects stay as they are.

        `managed` says that managedFields are already right, as after an apply.
        """
        was = old.body
        meta = body["metadata"] = {**body["metadata"]}
        revision = meta.get("resourceVersion")
        if revision not in (None, "", "0") and revision != was["metadata"]["resourceVersion"]:
            raise conflict(resource.group, resource.plural, was["metadata"]["name"])
        uid = was["metadata"]["uid"]
        if meta.get("uid") not in (None, "", uid):
            why = f"Precondition failed: UID in precondition: {meta['uid']}, UID in object meta: {uid}"
            raise conflict(resource.group, resource.plural, was["metadata"]["name"], why)
        for name in (*_FIXED, "namespace", "name", "generateName", "resourceVersion"):
            meta.pop(name, None)
            if name in was["metadata"]:
                meta[name] = was["metadata"][name]
        body = self._isolate(resource, was, body, subresource)
        if resource.table == "services":
            for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
                if name in was["spec"]:
                    body["spec"].setdefault(name, was["spec"][name])
        self._finish(resource, body, was, options, subresource, managed=managed)
        if _same(was, body):
            return old
        return self._store(resource, body, options)

    def _isolate(self, resource: Resource, was: Object, body: Object, subresource: str) -> Object:
        if subresource == "status":
            result = clone(was)
            result.pop("status", None)
            if "status" in body:
                result["status"] = body["status"]
            kept = (
                ("managedFields",)
                if resource.custom
                else ("managedFields", "labels", "annotations", "finalizers")
            )
            for name in kept:
                result["metadata"].pop(name, None)
                if name in body["metadata"]:
                    result["metadata"][name] = body["metadata"][name]
            return dict(result)
        if resource.has_status:
            body.pop("status", None)
            if "status" in was:
                body["status"] = clone(was["status"])
        return body

    def _finish(
        self, resource: Resource, body: Object, was: Object | None, options: WriteOptions, subresource: str,
        *, managed: bool = False,
    ) -> None:  # fmt: skip
        """Default, judge, count the generation and note the manager: what creation and change have in common."""
        name = body["metadata"].get("name", "")
        if resource.custom:
            set_defaults(resource.schema, body)
            faults = list(metadata_faults(body["metadata"], resource.name_rule, resource.namespaced))
            faults += resource.custom.validator.causes(body)
            if resource.custom.deprecation:
                options.warnings.append(resource.custom.deprecation)
        else:
            set_builtin_defaults(resource.table, body)
            faults = list(metadata_faults(body["metadata"], resource.name_rule, resource.namespaced))
            faults += builtin_faults(resource.table, body, was)
        if faults:
            raise invalid(resource.group, resource.kind, name, faults)
        if was is not None and resource.generation and _desired(was) != _desired(body):
            body["metadata"]["generation"] = was["metadata"].get("generation", 0) + 1
        if not managed:
            who = Manager(options.manager, "Update", resource.api_version, subresource)
            hidden = _hidden(resource, subresource)
            entries = after_update(resource.schema, was or {}, body, who, now(), hidden)
            body["metadata"].pop("managedFields", None)
            if entries:
                body["metadata"]["managedFields"] = entries
        if was is None and resource.table == "services":
            self._allocate(body)
        if was is None and resource.table == DEFINITIONS:
            established(body)
        if resource.table == DEFINITIONS and has_rules(body):
            options.warnings.append(
                "x-kubernetes-validations are not evaluated by Berth's embedded control plane"
            )
        if was is None and resource.table == "namespaces":
            body["spec"] = {"finalizers": ["kubernetes"]}
        if resource.table == "events":
            body |= with_required(body)

    def _store(self, resource: Resource, body: Object, options: WriteOptions) -> Stored:
        size = len(encode(body))
        if size > OBJECT_BYTES:
            raise too_large(OBJECT_BYTES)
        if options.dry_run:
            return Stored(body, 0)
        meta = body["metadata"]
        if meta.get("deletionTimestamp") and is_finished(resource, body):
            key: Key = (meta.get("namespace", ""), meta["name"])
            gone = self.store.delete(resource.table, key)
            meta["resourceVersion"] = str(gone.revision)
            return Stored(body, gone.revision)
        return self.store.put(resource.table, body)

    def _check_namespace(self, resource: Resource, namespace: str, name: str) -> None:
        found = self.store.get("namespaces", ("", namespace))
        if found is None:
            raise not_found("", "namespaces", namespace)
        if found.body["metadata"].get("deletionTimestamp"):
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            cause = Cause(
                "metadata.namespace", f"namespace {namespace} is being terminated", "NamespaceTerminating"
            )
            raise forbidden(resource.group, resource.plural, name, why, [cause])

    def _allocate(self, body: Object) -> None:
        """Give a new Service its cluster address, or check the one that it asks for."""
        spec, name = body["spec"], body["metadata"]["name"]
        if spec["type"] == "ExternalName":
            return
        used = {dig(one.body, "spec", "clusterIP") for one in self.store.list("services")}
        wanted = spec.get("clusterIP")
        if not wanted:
            try:
                wanted = self._addresses.allocate(used)
            except AddressesUsedUp:
                raise ApiError(
                    500, "InternalError", "no cluster address is left for another Service"
                ) from None
        elif wanted != "None":
            why = "provided IP is already allocated" if wanted in used else ""
            if not is_allowed(wanted):
                why = "the provided network does not match the current range"
            if why:
                message = f'Invalid value: ["{wanted}"]: failed to allocate IP {wanted}: {why}'
                raise invalid("", "Service", name, [Cause("spec.clusterIPs", message)])
        spec["clusterIP"], spec["clusterIPs"] = wanted, [wanted]
        both = wanted == "None" and not spec.get("selector")
        spec.setdefault("ipFamilies", ["IPv4", "IPv6"] if both else ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "RequireDualStack" if both else "SingleStack")


def is_finished(resource: Resource, body: Object) -> bool:
    """Say whether nothing holds back an object whose deletion was asked for."""
    meta = body["metadata"]
    if meta.get("finalizers") or meta.get("deletionGracePeriodSeconds"):
        return False
    return not (resource.table == "namespaces" and dig(body, "spec", "finalizers"))


def _hidden(resource: Resource, subresource: str) -> frozenset[str]:
    """Return the top-level fields that a write cannot set, and so does not come to own."""
    if subresource == "status":
        return frozenset(resource.schema.properties) - (
            {"status"} if resource.custom else {"status", "metadata"}
        )
    return frozenset({"status"}) if resource.has_status else frozenset()


def _desired(body: Object) -> Object:
    return {
        key: value for key, value in body.items() if key not in ("metadata", "status", "apiVersion", "kind")
    }


def _same(was: Object, body: Object) -> bool:
    return {**was, "metadata": None} == {**body, "metadata": None} and _timeless(was) == _timeless(body)


def _timeless(body: Object) -> Object:
    meta = dict(body["metadata"])
    meta["managedFields"] = [{**entry, "time": ""} for entry in meta.get("managedFields") or ()]
    return meta
