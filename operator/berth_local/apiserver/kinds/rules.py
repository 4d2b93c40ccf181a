"""What built-in objects must satisfy beyond their types, and what of them cannot change."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from berth_local.apiserver.errors import Cause
from berth_local.apiserver.kinds.custom import definition_faults
from berth_local.apiserver.names import LABEL, label_faults, name_faults
from berth_local.apiserver.objects import Object, dig

Faults = Iterator[Cause]


def builtin_faults(table: str, body: Object, old: Object | None) -> list[Cause]:
    """Judge a built-in object after defaulting; `old` is what it replaces, None for a new one."""
    rule = _RULES.get(table)
    return list(rule(body, old)) if rule else []


def _required(field: str) -> Cause:
    return Cause(field, "Required value", "FieldValueRequired")


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _immutable(field: str, new: Any, old: Any) -> Faults:
    if new != old:
        yield Cause(field, f"Invalid value: {_shown(new)}: field is immutable")


def _workload(body: Object, old: Object | None) -> Faults:
    spec = body.get("spec") or {}
    if spec.get("replicas", 0) < 0:
        yield Cause("spec.replicas", f"Invalid value: {spec['replicas']}: must be greater than or equal to 0")
    selector = spec.get("selector")
    labels = dig(spec, "template", "metadata", "labels")
    if selector is None:
        yield _required("spec.selector")
    elif not selector:
        yield Cause("spec.selector", "Invalid value: {}: empty selector is invalid for workload")
    wanted = (selector or {}).get("matchLabels") or {}
    if selector is None or any((labels or {}).get(key) != value for key, value in wanted.items()):
        message = f"Invalid value: {_shown(labels)}: `selector` does not match template `labels`"
        yield Cause("spec.template.metadata.labels", message)
    yield from label_faults(labels or {}, "spec.template.labels")
    pod = dig(spec, "template", "spec") or {}
    yield from _pod_spec(pod, "spec.template.spec")
    if pod.get("restartPolicy", "Always") != "Always":
        message = f'Unsupported value: {_shown(pod["restartPolicy"])}: supported values: "Always"'
        yield Cause("spec.template.spec.restartPolicy", message, "FieldValueNotSupported")
    kind = dig(spec, "strategy", "type")
    if kind not in (None, "RollingUpdate", "Recreate"):
        message = f'Unsupported value: {_shown(kind)}: supported values: "Recreate", "RollingUpdate"'
        yield Cause("spec.strategy.type", message, "FieldValueNotSupported")
    if kind == "Recreate" and dig(spec, "strategy", "rollingUpdate"):
        message = "Forbidden: may not be specified when strategy `type` is 'Recreate'"
        yield Cause("spec.strategy.rollingUpdate", message, "FieldValueForbidden")
    if old is not None:
        yield from _immutable("spec.selector", selector, dig(old, "spec", "selector"))


def _pod_spec(spec: Object, field: str) -> Faults:
    if not spec.get("containers"):
        yield _required(f"{field}.containers")
    volumes = {volume.get("name") for volume in spec.get("volumes") or ()}
    for index, volume in enumerate(spec.get("volumes") or ()):
        yield from _named(volume, f"{field}.volumes[{index}].name")
    names: set[str] = set()
    for group in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(group) or ()):
            yield from _container(container, f"{field}.{group}[{index}]", volumes, names)
    policy = spec.get("restartPolicy", "Always")
    if policy not in ("Always", "OnFailure", "Never"):
        message = f'Unsupported value: {_shown(policy)}: supported values: "Always", "OnFailure", "Never"'
        yield Cause(f"{field}.restartPolicy", message, "FieldValueNotSupported")


def _named(item: Object, field: str) -> Faults:
    if not item.get("name"):
        yield _required(field)
    else:
        yield from name_faults(item["name"], LABEL, field)


def _container(container: Object, field: str, volumes: set[Any], names: set[str]) -> Faults:
    yield from _named(container, f"{field}.name")
    name = container.get("name", "")
    if name and name in names:
        yield Cause(f"{field}.name", f"Duplicate value: {_shown(name)}", "FieldValueDuplicate")
    names.add(name)
    if not container.get("image"):
        yield _required(f"{field}.image")
    for index, port in enumerate(container.get("ports") or ()):
        yield from _port(port.get("containerPort"), f"{field}.ports[{index}].containerPort")
    for index, variable in enumerate(container.get("env") or ()):
        if not variable.get("name"):
            yield _required(f"{field}.env[{index}].name")
        if variable.get("value") and variable.get("valueFrom"):
            message = 'Invalid value: "": may not be specified when `value` is not empty'
            yield Cause(f"{field}.env[{index}].valueFrom", message)
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        place = f"{field}.volumeMounts[{index}]"
        if not mount.get("mountPath"):
            yield _required(f"{place}.mountPath")
        if not mount.get("name"):
            yield _required(f"{place}.name")
        elif mount["name"] not in volumes:
            yield Cause(f"{place}.name", f"Not found: {_shown(mount['name'])}", "FieldValueNotFound")
    yield from _amounts(container.get("resources") or {}, f"{field}.resources")


def _amounts(resources: Object, field: str) -> Faults:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for name, amount in requests.items():
        if "/" in name and limits.get(name) != amount:
            if name not in limits:
                yield Cause(f"{field}.limits", "Required value: Limit must be set for non overcommitable resources",
                            "FieldValueRequired")  # fmt: skip
            else:
                message = f"Invalid value: {_shown(amount)}: must be equal to {name} limit of {limits[name]}"
                yield Cause(f"{field}.requests", message)


def _port(port: Any, field: str) -> Faults:
    if port is None or port == 0:
        yield _required(field)
    elif isinstance(port, int) and not 0 < port < 65536:
        yield Cause(field, f"Invalid value: {port}: must be between 1 and 65535, inclusive")


_POD_UPDATES = (
    "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
    "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def _pod(body: Object, old: Object | None) -> Faults:
    yield from _pod_spec(body.get("spec") or {}, "spec")
    if old is not None and _fixed(body["spec"]) != _fixed(old["spec"]):
        yield Cause("spec", _POD_UPDATES, "FieldValueForbidden")


def _fixed(spec: Object) -> Object:
    """Return the part of a pod's spec that never changes."""
    fixed = {key: value for key, value in spec.items() if key not in ("activeDeadlineSeconds", "tolerations")}
    for group in ("initContainers", "containers"):
        if group in fixed:
            fixed[group] = [{**one, "image": ""} for one in fixed[group]]
    return fixed


def _service(body: Object, old: Object | None) -> Faults:
    spec = body.get("spec") or {}
    kinds = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
    if spec.get("type") not in kinds:
        listed = ", ".join(_shown(kind) for kind in kinds)
        message = f"Unsupported value: {_shown(spec.get('type'))}: supported values: {listed}"
        yield Cause("spec.type", message, "FieldValueNotSupported")
    ports = spec.get("ports") or []
    if not ports and spec.get("clusterIP") != "None" and spec.get("type") != "ExternalName":
        yield _required("spec.ports")
    seen: set[tuple[Any, Any]] = set()
    for index, port in enumerate(ports):
        field = f"spec.ports[{index}]"
        if len(ports) > 1 and not port.get("name"):
            yield _required(f"{field}.name")
        if not isinstance(port.get("port"), int) or not 0 < port["port"] < 65536:
            message = f"Invalid value: {port.get('port', 0)}: must be between 1 and 65535, inclusive"
            yield Cause(f"{field}.port", message)
        identity = (port.get("port"), port.get("protocol"))
        if identity in seen:
            shown = _shown({"port": port.get("port"), "protocol": port.get("protocol")})
            yield Cause(field, f"Duplicate value: {shown}", "FieldValueDuplicate")
        seen.add(identity)
    yield from label_faults(spec.get("selector") or {}, "spec.selector")
    was = dig(old, "spec", "clusterIP")
    if was and spec.get("type") != "ExternalName" and dig(old, "spec", "type") != "ExternalName":
        given = spec.get("clusterIP")
        if given != was:
            yield Cause("spec.clusterIPs[0]", f"Invalid value: {_shown([given])}: may not change once set")


def _data_names(body: Object, old: Object | None) -> Faults:
    for group in ("data", "binaryData"):
        for name in body.get(group) or ():
            if not name or len(name) > 253 or not all(sign.isalnum() or sign in "-_." for sign in name):
                message = (
                    f"Invalid value: {_shown(name)}: a valid config key must consist of alphanumeric characters, "
                    "'-', '_' or '.'"
                )
                yield Cause(f"{group}[{name}]", message)
    if old is not None and old.get("immutable"):
        for group in ("data", "binaryData"):
            if body.get(group) != old.get(group):
                yield Cause(
                    group, "Forbidden: field is immutable when `immutable` is set", "FieldValueForbidden"
                )
    if old is not None and "type" in old:
        yield from _immutable("type", body.get("type"), old["type"])


def _event(body: Object, old: Object | None) -> Faults:
    about, own = dig(body, "involvedObject", "namespace"), dig(body, "metadata", "namespace")
    if old is None and about != own and not (not about and own == "default"):
        yield Cause(
            "involvedObject.namespace",
            f"Invalid value: {_shown(about or '')}: does not match event.namespace",
        )


def _definition(body: Object, old: Object | None) -> Faults:
    yield from definition_faults(body)
    if old is not None:
        for path in (
            ("spec", "group"),
            ("spec", "scope"),
            ("spec", "names", "plural"),
            ("spec", "names", "kind"),
        ):
            yield from _immutable(".".join(path), dig(body, *path), dig(old, *path))


_RULES: dict[str, Callable[[Object, Object | None], Faults]] = {
    "deployments.apps": _workload,
    "replicasets.apps": _workload,
    "statefulsets.apps": _workload,
    "pods": _pod,
    "services": _service,
    "configmaps": _data_names,
    "secrets": _data_names,
    "events": _event,
    "customresourcedefinitions.apiextensions.k8s.io": _definition,
}
