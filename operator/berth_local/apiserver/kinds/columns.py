"""The columns of `kubectl get` for the built-in kinds."""

from typing import Any

from berth_local.apiserver.kinds.durations import age
from berth_local.apiserver.kinds.podcolumns import pod_ready, pod_restarts, pod_status
from berth_local.apiserver.kinds.resource import Column
from berth_local.apiserver.objects import Object, dig


def _at(*path: str, otherwise: Any = "<none>") -> Any:
    def cell(body: Object) -> Any:
        value = dig(body, *path)
        return otherwise if value in (None, "") else value

    return cell


def _age(body: Object) -> str:
    return age(dig(body, "metadata", "creationTimestamp"))


def _count(*path: str) -> Any:
    return lambda body: len(dig(body, *path) or ())


def selector_text(selector: Any) -> str:
    """Return a label selector, or a plain map of labels, as one line."""
    if not selector:
        return "<none>"
    labels = (
        selector.get("matchLabels")
        if "matchLabels" in selector or "matchExpressions" in selector
        else selector
    )
    parts = [f"{key}={value}" for key, value in sorted((labels or {}).items())]
    for rule in selector.get("matchExpressions") or () if isinstance(selector, dict) else ():
        words = {"In": "in", "NotIn": "notin"}
        if rule.get("operator") in words:
            parts.append(f"{rule['key']} {words[rule['operator']]} ({','.join(rule.get('values') or ())})")
        else:
            parts.append(("!" if rule.get("operator") == "DoesNotExist" else "") + str(rule.get("key")))
    return ",".join(parts)


NAME = Column("Name", _at("metadata", "name"), format="name")
AGE = Column("Age", _age)


def _containers(*path: str) -> tuple[Column, Column]:
    def listed(field: str) -> Any:
        return lambda body: ",".join(str(one.get(field, "")) for one in dig(body, *path, "containers") or ())

    return Column("Containers", listed("name"), priority=1), Column("Images", listed("image"), priority=1)


DEFAULT = (NAME, Column("Created At", _at("metadata", "creationTimestamp")))

PODS = (
    NAME,
    Column("Ready", pod_ready),
    Column("Status", pod_status),
    Column("Restarts", pod_restarts),
    AGE,
    Column("IP", _at("status", "podIP"), priority=1),
    Column("Node", _at("spec", "nodeName"), priority=1),
    Column("Nominated Node", _at("status", "nominatedNodeName"), priority=1),
    Column(
        "Readiness Gates",
        lambda body: "<none>" if not (gates := dig(body, "spec", "readinessGates")) else f"0/{len(gates)}",
        priority=1,
    ),
)


def _number(*path: str) -> Any:
    return _at(*path, otherwise=0)


DEPLOYMENTS = (
    NAME,
    Column(
        "Ready",
        lambda body: f"{_number('status', 'readyReplicas')(body)}/{_number('spec', 'replicas')(body)}",
    ),
    Column("Up-to-date", _number("status", "updatedReplicas")),
    Column("Available", _number("status", "availableReplicas")),
    AGE,
    *_containers("spec", "template", "spec"),
    Column("Selector", lambda body: selector_text(dig(body, "spec", "selector")), priority=1),
)
REPLICA_SETS = (
    NAME,
    Column("Desired", _number("spec", "replicas"), type="integer"),
    Column("Current", _number("status", "replicas"), type="integer"),
    Column("Ready", _number("status", "readyReplicas"), type="integer"),
    AGE,
    *_containers("spec", "template", "spec"),
    Column("Selector", lambda body: selector_text(dig(body, "spec", "selector")), priority=1),
)
STATEFUL_SETS = (NAME, DEPLOYMENTS[1], AGE, *_containers("spec", "template", "spec"))


def _external(body: Object) -> str:
    kind = dig(body, "spec", "type")
    listed = list(dig(body, "spec", "externalIPs") or ())
    if kind == "ExternalName":
        return str(dig(body, "spec", "externalName"))
    if kind == "LoadBalancer":
        ingress = dig(body, "status", "loadBalancer", "ingress") or ()
        listed = [one.get("ip") or one.get("hostname") or "" for one in ingress] + listed
        return ",".join(listed) or "<pending>"
    return ",".join(listed) or "<none>"


def _ports(body: Object) -> str:
    texts = []
    for port in dig(body, "spec", "ports") or ():
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        texts.append(f"{port.get('port')}{node}/{port.get('protocol', 'TCP')}")
    return ",".join(texts) or "<none>"


SERVICES = (
    NAME,
    Column("Type", _at("spec", "type")),
    Column("Cluster-IP", _at("spec", "clusterIP")),
    Column("External-IP", _external),
    Column("Port(s)", _ports),
    AGE,
    Column("Selector", lambda body: selector_text(dig(body, "spec", "selector")), priority=1),
)


def _last_seen(body: Object) -> str:
    series, first = dig(body, "series", "lastObservedTime"), body.get("firstTimestamp")
    return age(series or body.get("lastTimestamp") or body.get("eventTime") or first)


def _about(body: Object) -> str:
    about = body.get("involvedObject") or body.get("regarding") or {}
    return f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"


def _source(body: Object) -> str:
    source = body.get("source") or body.get("deprecatedSource") or {}
    name = source.get("component") or body.get("reportingComponent") or body.get("reportingController") or ""
    return ", ".join(part for part in (name, source.get("host") or body.get("reportingInstance")) if part)


EVENTS = (
    Column("Last Seen", _last_seen),
    Column("Type", _at("type", otherwise="")),
    Column("Reason", _at("reason", otherwise="")),
    Column("Object", _about),
    Column(
        "Subobject", lambda body: (body.get("involvedObject") or body.get("regarding") or {}).get("fieldPath", ""),
        priority=1,
    ),
    Column("Source", _source, priority=1),
    Column("Message", lambda body: str(body.get("message") or body.get("note") or "").strip()),
    Column("First Seen", lambda body: age(body.get("firstTimestamp") or body.get("eventTime")), priority=1),
    Column("Count", lambda body: body.get("count") or dig(body, "series", "count") or 1, priority=1),
    Column("Name", _at("metadata", "name"), format="name", priority=1),
)  # fmt: skip
NAMESPACES = (NAME, Column("Status", _at("status", "phase")), AGE)


def _node_status(body: Object) -> str:
    ready = next((one for one in dig(body, "status", "conditions") or () if one.get("type") == "Ready"), None)
    words = ["Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"]
    return ",".join(words + ["SchedulingDisabled"] * bool(dig(body, "spec", "unschedulable")))


def _node_roles(body: Object) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = body["metadata"].get("labels") or {}
    return ",".join(sorted(key.removeprefix(prefix) for key in labels if key.startswith(prefix))) or "<none>"


def _address(kind: str) -> Any:
    def cell(body: Object) -> str:
        found = dig(body, "status", "addresses") or ()
        return next((str(one.get("address")) for one in found if one.get("type") == kind), "<none>")

    return cell


NODES = (
    NAME,
    Column("Status", _node_status),
    Column("Roles", _node_roles),
    AGE,
    Column("Version", _at("status", "nodeInfo", "kubeletVersion", otherwise="")),
    Column("Internal-IP", _address("InternalIP"), priority=1),
    Column("External-IP", _address("ExternalIP"), priority=1),
    Column("OS-Image", _at("status", "nodeInfo", "osImage", otherwise="<unknown>"), priority=1),
    Column("Kernel-Version", _at("status", "nodeInfo", "kernelVersion", otherwise="<unknown>"), priority=1),
    Column(
        "Container-Runtime",
        _at("status", "nodeInfo", "containerRuntimeVersion", otherwise="<unknown>"),
        priority=1,
    ),
)
CONFIG_MAPS = (
    NAME,
    Column(
        "Data", lambda body: len(body.get("data") or ()) + len(body.get("binaryData") or ()), type="integer"
    ),
    AGE,
)
SECRETS = (NAME, Column("Type", _at("type")), Column("Data", _count("data"), type="integer"), AGE)
SERVICE_ACCOUNTS = (NAME, AGE)
LEASES = (NAME, Column("Holder", _at("spec", "holderIdentity", otherwise="")), AGE)
DEFINITIONS = (NAME, Column("Created At", _at("metadata", "creationTimestamp")))
