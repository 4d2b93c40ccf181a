"""Where a Workspace's pods may run: node affinity from its resource section, and the usual GPU tolerations."""

from typing import Any

from berth_operator.api.names import LABEL_HOSTNAME, LABEL_INSTANCE_TYPE
from berth_operator.api.spec import Resource

GPU_RESOURCE = "nvidia.com/gpu"

GPU_TOLERATIONS: tuple[dict[str, Any], ...] = (
    # The taint that NVIDIA's and most clouds' documentation puts on GPU nodes.
    {"key": GPU_RESOURCE, "operator": "Exists", "effect": "NoSchedule"},
    # AKS' documentation taints GPU pools so, and KAITO's node provisioners do.
    {"key": "sku", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"},
)


def node_affinity(resource: Resource) -> dict[str, Any]:
    """Return the `nodeAffinity` that the instance type, label selector and preferred nodes ask for; {} for none."""
    required: list[dict[str, Any]] = []
    if resource.instance_type:
        required.append({"key": LABEL_INSTANCE_TYPE, "operator": "In", "values": [resource.instance_type]})
    selector = resource.label_selector
    required += [
        {"key": key, "operator": "In", "values": [value]}
        for key, value in sorted(selector.match_labels.items())
    ]
    for expression in selector.match_expressions:
        term: dict[str, Any] = {"key": expression.key, "operator": expression.operator}
        if expression.values:
            term["values"] = list(expression.values)
        required.append(term)
    affinity: dict[str, Any] = {}
    if required:
        affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {
            "nodeSelectorTerms": [{"matchExpressions": required}]
        }
    if resource.preferred_nodes:
        names = {"key": LABEL_HOSTNAME, "operator": "In", "values": list(resource.preferred_nodes)}
        affinity["preferredDuringSchedulingIgnoredDuringExecution"] = [
            {"weight": 100, "preference": {"matchExpressions": [names]}}
        ]
    return affinity


def with_node_affinity(pod_spec: dict[str, Any], resource: Resource) -> dict[str, Any]:
    """Return the pod spec with the Workspace's node affinity added to its own.

    Required terms of a pod are alternatives, so the Workspace's expressions join each of them.
    """
    wanted = node_affinity(resource)
    if not wanted:
        return pod_spec
    affinity = dict(pod_spec.get("affinity") or {})
    own = dict(affinity.get("nodeAffinity") or {})
    required_key = "requiredDuringSchedulingIgnoredDuringExecution"
    if required_key in wanted:
        expressions = wanted[required_key]["nodeSelectorTerms"][0]["matchExpressions"]
        terms = (own.get(required_key) or {}).get("nodeSelectorTerms") or [{}]
        own[required_key] = {
            "nodeSelectorTerms": [
                {**term, "matchExpressions": [*(term.get("matchExpressions") or []), *expressions]}
                for term in terms
            ]
        }
    preferred_key = "preferredDuringSchedulingIgnoredDuringExecution"
    if preferred_key in wanted:
        own[preferred_key] = [*(own.get(preferred_key) or []), *wanted[preferred_key]]
    affinity["nodeAffinity"] = own
    return {**pod_spec, "affinity": affinity}
