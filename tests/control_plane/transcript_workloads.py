"""Steps about Deployments: defaults, rules, strategic merge patches, apply, status and scale."""

from typing import Any

from control_plane.transcript import APPLY, MERGE, NAMESPACE, STRATEGIC, TABLE, Step

CORE = f"/api/v1/namespaces/{NAMESPACE}"
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
D1 = f"{DEPLOYMENTS}/d1"


def container(name: str = "c", **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "registry.example/c:1", **more}


PROBED = container(
    ports=[{"containerPort": 5000, "name": "http"}],
    env=[
        {"name": "A", "value": "1"},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ],
    resources={"limits": {"cpu": 2, "nvidia.com/gpu": "1"}, "requests": {"cpu": "1"}},
    readinessProbe={"httpGet": {"path": "/health", "port": "http"}},
    startupProbe={"httpGet": {"port": 5000}, "failureThreshold": 90},
    volumeMounts=[{"name": "tmp", "mountPath": "/tmp"}],
)


def _deployment(name: str, labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    chosen = labels or {"app": "c"}
    volumes = [{"name": "tmp", "emptyDir": {}}, {"name": "conf", "configMap": {"name": "m"}}]
    pod: dict[str, Any] = {"containers": [PROBED], "volumes": volumes, "nodeSelector": {"a": "b"}}
    whole: dict[str, Any] = {"selector": {"matchLabels": {"app": "c"}}}
    whole["template"] = {"metadata": {"labels": chosen}, "spec": pod}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": whole | spec}


def _add(*containers: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": list(containers)}}}}


WORKLOADS = [
    Step("a deployment with a word for a number", "POST", DEPLOYMENTS, _deployment("d1", replicas="x"), 400),
    Step("a deployment of nothing", "POST", DEPLOYMENTS, {"metadata": {"name": "d1"}, "spec": {}}, 422),
    Step(
        "a deployment that selects others",
        "POST",
        DEPLOYMENTS,
        _deployment("d1", {"app": "other"}, replicas=-1),
        422,
    ),
    Step(
        "an unknown field in a container, strictly",
        "POST",
        DEPLOYMENTS,
        code=400,
        query={"fieldValidation": "Strict"},
        body=_deployment("d1") | {"spec": {**_deployment("d1")["spec"], "replica": 1}},
    ),
    Step(
        "a deployment",
        "POST",
        DEPLOYMENTS,
        _deployment("d1", paused=True),
        201,
        {
            "spec.replicas": 1,
            "spec.template.spec.containers.0.ports.0.protocol": "TCP",
            "metadata.generation": 1,
        },
    ),
    Step(
        "one more variable",
        "PATCH",
        D1,
        _add({"name": "c", "env": [{"name": "B", "value": "2"}]}),
        200,
        {"spec.template.spec.containers.0.env.0.name": "B"},
        STRATEGIC,
    ),
    Step(
        "one variable less, in a new order",
        "PATCH",
        D1,
        type=STRATEGIC,
        says={"spec.template.spec.containers.0.env.0.name": "POD"},
        body=_add(
            {
                "name": "c",
                "env": [{"name": "A", "$patch": "delete"}],
                "$setElementOrder/env": [{"name": "POD"}, {"name": "B"}],
            }
        ),
    ),
    Step("another container", "PATCH", D1, _add(container("side")), 200, type=STRATEGIC),
    Step(
        "all containers anew",
        "PATCH",
        D1,
        _add({"$patch": "replace"}, container("c")),
        200,
        {"spec.template.spec.containers.1": None},
        STRATEGIC,
    ),
    Step(
        "another strategy",
        "PATCH",
        D1,
        type=STRATEGIC,
        says={"spec.strategy": {"type": "Recreate"}},
        body={"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}},
    ),
    Step(
        "another selector",
        "PATCH",
        D1,
        {
            "spec": {
                "selector": {"matchLabels": {"app": "z"}},
                "template": {"metadata": {"labels": {"app": "z"}}},
            }
        },
        422,
        type=MERGE,
    ),
    Step(
        "apply replicas against another",
        "PATCH",
        D1,
        code=409,
        type=APPLY,
        query={"fieldManager": "one"},
        body={"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 3}},
    ),
    Step(
        "apply a container's image",
        "PATCH",
        D1,
        type=APPLY,
        query={"fieldManager": "one", "force": "true"},
        body={"apiVersion": "apps/v1", "kind": "Deployment", **_add({"name": "c", "image": "other:2"})},
        says={"spec.template.spec.containers.0.image": "other:2"},
    ),
    Step(
        "apply an unknown field to the deployment",
        "PATCH",
        D1,
        code=500,
        type=APPLY,
        query={"fieldManager": "one"},
        body={"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replica": 3}},
    ),
    Step(
        "its status",
        "PATCH",
        f"{D1}/status",
        {"status": {"replicas": 2, "conditions": [{"type": "Available", "status": "True"}]}},
        200,
        {"status.replicas": 2, "metadata.generation": 7},
        MERGE,
    ),
    Step(
        "one more condition",
        "PATCH",
        f"{D1}/status",
        {"status": {"conditions": [{"type": "Progressing", "status": "False"}]}},
        200,
        {"status.conditions.1.type": "Available"},
        STRATEGIC,
    ),
    Step("its scale", "GET", f"{D1}/scale", says={"spec.replicas": 1, "status.selector": "app=c"}),
    Step("scale it", "PATCH", f"{D1}/scale", {"spec": {"replicas": 4}}, 200, {"spec.replicas": 4}, MERGE),
    Step("deployments as a table", "GET", DEPLOYMENTS, accept=TABLE, says={"rows.0.cells.1": "0/4"}),
    Step("deployments as a list", "GET", DEPLOYMENTS, says={"items.0.kind": None, "kind": "DeploymentList"}),
    Step(
        "delete the deployment", "DELETE", D1, {"propagationPolicy": "Background"}, says={"status": "Success"}
    ),
]
