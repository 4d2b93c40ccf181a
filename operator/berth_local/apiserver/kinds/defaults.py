"""Server-side defaults of the built-in kinds: what clients rely on to find filled in.

Pods and pod templates: restartPolicy, terminationGracePeriodSeconds, dnsPolicy, schedulerName, securityContext,
enableServiceLinks (pods alone), containers' imagePullPolicy, terminationMessage*, resources, ports' protocol,
probes' timings and HTTP scheme, volumes' default modes, field references' apiVersion. Deployments: replicas,
strategy, revisionHistoryLimit, progressDeadlineSeconds. ReplicaSets and StatefulSets: replicas. Services: type,
sessionAffinity, ports' protocol and targetPort, the families and policies of IPv4. Secrets: type, stringData moved
to data. Namespaces: the name label, the `kubernetes` finalizer, the Active phase. Pods: phase Pending.
Not filled in: the service account and its token volume, priority, tolerations, node ports.
"""

import base64
from collections.abc import Callable
from typing import Any

from berth_local.apiserver.objects import Object


def set_builtin_defaults(table: str, body: Object) -> None:
    """Fill in an object's defaults, in place; `table` is the kind as `deployments.apps`."""
    defaults = _DEFAULTS.get(table)
    if defaults is not None:
        defaults(body)


def _deployment(body: Object) -> None:
    spec = body.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    strategy = spec.setdefault("strategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    body.setdefault("status", {})
    _template(spec)


def _replicas(body: Object) -> None:
    spec = body.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    body.setdefault("status", {"replicas": 0})
    _template(spec)


def _template(spec: Object) -> None:
    template = spec.get("template")
    if isinstance(template, dict) and template:
        _pod_spec(template.setdefault("spec", {}))


def _pod(body: Object) -> None:
    spec = body.setdefault("spec", {})
    spec.setdefault("enableServiceLinks", True)
    _pod_spec(spec)
    for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
        resources = container["resources"]
        if resources.get("limits"):
            resources["requests"] = {**resources["limits"], **(resources.get("requests") or {})}
    status = body.setdefault("status", {})
    status.setdefault("phase", "Pending")
    status.setdefault("qosClass", _quality(spec))


def _quality(spec: Object) -> str:
    """Return the quality of service class that the containers' requests and limits amount to."""
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    resources = [one.get("resources") or {} for one in containers]
    if not any(one.get("requests") or one.get("limits") for one in resources):
        return "BestEffort"
    guaranteed = all(
        {"cpu", "memory"} <= (one.get("limits") or {}).keys()
        and all((one.get("requests") or one["limits"]).get(key, one["limits"][key]) == one["limits"][key]
                for key in ("cpu", "memory"))
        for one in resources
    )  # fmt: skip
    return "Guaranteed" if guaranteed else "Burstable"


def _pod_spec(spec: Object) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    if spec.get("serviceAccountName"):
        spec.setdefault("serviceAccount", spec["serviceAccountName"])
    elif spec.get("serviceAccount"):
        spec["serviceAccountName"] = spec["serviceAccount"]
    for volume in spec.get("volumes") or ():
        _volume(volume)
    for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
        _container(container)


_MODED = ("secret", "configMap", "downwardAPI", "projected")


def _volume(volume: Object) -> None:
    for source in _MODED:
        if isinstance(volume.get(source), dict):
            volume[source].setdefault("defaultMode", 420)
    if isinstance(volume.get("hostPath"), dict):
        volume["hostPath"].setdefault("type", "")
    for item in (volume.get("downwardAPI") or {}).get("items") or ():
        _field_reference(item)
    if volume.keys() == {"name"}:
        volume["emptyDir"] = {}


def _field_reference(holder: Object) -> None:
    if isinstance(holder.get("fieldRef"), dict):
        holder["fieldRef"].setdefault("apiVersion", "v1")


def _container(container: Object) -> None:
    image = str(container.get("image", ""))
    if image:
        tag = image.rpartition("/")[2].partition(":")[2]
        always = "@" not in image and tag in ("", "latest")
        container.setdefault("imagePullPolicy", "Always" if always else "IfNotPresent")
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("resources", {})
    for port in container.get("ports") or ():
        port.setdefault("protocol", "TCP")
    for variable in container.get("env") or ():
        _field_reference(variable.get("valueFrom") or {})
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if isinstance(container.get(name), dict):
            _probe(container[name])
    for action in (container.get("lifecycle") or {}).values():
        if isinstance(action, dict) and isinstance(action.get("httpGet"), dict):
            _http_get(action["httpGet"])


def _probe(probe: Object) -> None:
    for name, value in (
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ):
        if not probe.get(name):
            probe[name] = value
    if isinstance(probe.get("httpGet"), dict):
        _http_get(probe["httpGet"])


def _http_get(action: Object) -> None:
    action.setdefault("path", "/")
    action.setdefault("scheme", "HTTP")


def _service(body: Object) -> None:
    spec = body.setdefault("spec", {})
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        if port.get("targetPort") in (None, "", 0) and "port" in port:
            port["targetPort"] = port["port"]
    body.setdefault("status", {}).setdefault("loadBalancer", {})
    if spec["type"] == "ExternalName":
        return
    spec.setdefault("internalTrafficPolicy", "Cluster")
    if spec["type"] in ("NodePort", "LoadBalancer"):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)


def _secret(body: Object) -> None:
    body.setdefault("type", "Opaque")
    plain: dict[str, Any] | None = body.pop("stringData", None)
    if plain:
        coded = {name: base64.b64encode(text.encode()).decode() for name, text in plain.items()}
        body["data"] = {**(body.get("data") or {}), **coded}


def _namespace(body: Object) -> None:
    meta = body["metadata"]
    if meta.get("name"):
        meta["labels"] = {**(meta.get("labels") or {}), "kubernetes.io/metadata.name": meta["name"]}
    body.setdefault("status", {}).setdefault("phase", "Active")


def _definition(body: Object) -> None:
    spec = body.setdefault("spec", {})
    spec.setdefault("conversion", {"strategy": "None"})
    names = spec.setdefault("names", {})
    if names.get("kind"):
        names.setdefault("singular", str(names["kind"]).lower())
        names.setdefault("listKind", f"{names['kind']}List")


_DEFAULTS: dict[str, Callable[[Object], None]] = {
    "deployments.apps": _deployment,
    "replicasets.apps": _replicas,
    "statefulsets.apps": _replicas,
    "pods": _pod,
    "services": _service,
    "secrets": _secret,
    "namespaces": _namespace,
    "customresourcedefinitions.apiextensions.k8s.io": _definition,
}
