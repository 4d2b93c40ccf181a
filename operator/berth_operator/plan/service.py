"""The Service at which a Workspace's model answers."""

from typing import Any

from berth_operator.api.names import (
    ANNOTATION_ENABLE_LB,
    ANNOTATION_ENDPOINT,
    LABEL_POD_NAME,
    LABEL_WORKSPACE,
    PORT_NAME,
    SERVER_PORT,
    SERVICE_PORT,
)
from berth_operator.api.workspace import Workspace
from berth_operator.plan.metadata import child_metadata


def render_service(workspace: Workspace, pod: str | None = None) -> dict[str, Any]:
    """Return the Service: port 80 to the server's port, inside the cluster unless a load balancer is asked for.

    `pod` is the one of the Workspace's that answers; None where each of them does.
    """
    selector = {LABEL_WORKSPACE: workspace.metadata.name}
    if pod is not None:
        selector[LABEL_POD_NAME] = pod
    balanced = workspace.metadata.annotations.get(ANNOTATION_ENABLE_LB) == "True"
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": child_metadata(workspace),
        "spec": {
            "type": "LoadBalancer" if balanced else "ClusterIP",
            "selector": selector,
            # A number and not the port's name: a template's container may name its port as it likes.
            "ports": [
                {"name": PORT_NAME, "port": SERVICE_PORT, "targetPort": SERVER_PORT, "protocol": "TCP"}
            ],
        },
    }


def alien_selectors(live: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Return the keys that a live Service selects pods by and that were never meant: our pods do not carry them."""
    selected = (live.get("spec") or {}).get("selector") or {}
    return sorted(set(selected) - set(wanted["spec"]["selector"]))


def endpoint(service: dict[str, Any] | None) -> str:
    """Return the address at which a live Service answers, or "" while it has none.

    An annotation on the Service comes first: it is set where cluster addresses are not reachable as they are.
    """
    if service is None:
        return ""
    annotated = (service["metadata"].get("annotations") or {}).get(ANNOTATION_ENDPOINT)
    if annotated:
        return str(annotated)
    spec = service.get("spec") or {}
    host = spec.get("clusterIP") or ""
    if spec.get("type") == "LoadBalancer":
        ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or [{}]
        host = ingress[0].get("hostname") or ingress[0].get("ip") or host
    if not host or host == "None":
        return ""
    return f"http://[{host}]" if ":" in host else f"http://{host}"
