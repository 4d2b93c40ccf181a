"""Steps about Services, pods and the smaller built-in kinds."""

from typing import Any

from control_plane.transcript import MERGE, NAMESPACE, STRATEGIC, TABLE, Step
from control_plane.transcript_workloads import container

CORE = f"/api/v1/namespaces/{NAMESPACE}"
SERVICES = f"{CORE}/services"
PODS = f"{CORE}/pods"


def _service(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}


SMALL = [
    Step("a service by a bad name", "POST", SERVICES, _service("1.x"), 422),
    Step(
        "a service",
        "POST",
        SERVICES,
        _service("s1", selector={"app": "c"}),
        201,
        {"spec.ports.0.targetPort": 80},
    ),
    Step(
        "a headless service",
        "POST",
        SERVICES,
        _service("s2", clusterIP="None"),
        201,
        {"spec.clusterIPs": ["None"]},
    ),
    Step(
        "a service of unnamed ports", "POST", SERVICES, _service("s3", ports=[{"port": 1}, {"port": 2}]), 422
    ),
    Step("a service with no port", "POST", SERVICES, {"metadata": {"name": "s3"}, "spec": {}}, 422),
    Step(
        "a service by one more port",
        "PATCH",
        f"{SERVICES}/s1",
        type=STRATEGIC,
        says={"spec.ports.0.name": "web"},
        body={
            "spec": {
                "ports": [{"port": 80, "name": "web"}, {"port": 81, "name": "admin"}],
                "$setElementOrder/ports": [{"port": 80}, {"port": 81}],
            }
        },
    ),
    Step("services as a table", "GET", SERVICES, accept=TABLE, says={"rows.0.cells.4": "80/TCP,81/TCP"}),
    Step("delete the service", "DELETE", f"{SERVICES}/s1", says={"kind": "Service"}),
    Step(
        "a pod with no image",
        "POST",
        PODS,
        {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}},
        422,
    ),
    Step(
        "a pod on a node",
        "POST",
        PODS,
        {"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [container()]}},
        201,
        {"status.phase": "Pending", "spec.containers.0.imagePullPolicy": "IfNotPresent"},
    ),
    Step("the pod on another node", "PATCH", f"{PODS}/p", {"spec": {"nodeName": "m"}}, 422, type=MERGE),
    Step("the pod runs", "PATCH", f"{PODS}/p/status", {"status": {"phase": "Running"}}, type=STRATEGIC),
    Step(
        "pods of a node",
        "GET",
        PODS,
        query={"fieldSelector": "spec.nodeName=n,status.phase!=Pending"},
        says={"items.0.metadata.name": "p"},
    ),
    Step("delete the pod", "DELETE", f"{PODS}/p", says={"metadata.deletionGracePeriodSeconds": 30}),
    Step("delete it now", "DELETE", f"{PODS}/p", query={"gracePeriodSeconds": "0"}),
    Step("the pod is gone", "GET", f"{PODS}/p", code=404),
    Step(
        "a config map with a number",
        "POST",
        f"{CORE}/configmaps",
        {"metadata": {"name": "m"}, "data": {"a": 1}},
        400,
    ),
    Step("a config map", "POST", f"{CORE}/configmaps", {"metadata": {"name": "m"}, "data": {"a": "1"}}, 201),
    Step("a config map that is kept", "PATCH", f"{CORE}/configmaps/m", {"immutable": True}, type=MERGE),
    Step(
        "a config map whose namespace is empty text",
        "POST",
        f"{CORE}/configmaps",
        {"metadata": {"name": "n", "namespace": "", "labels": {"empty": ""}}, "data": {"a": ""}},
        201,
        {"metadata.namespace": NAMESPACE, "data": {"a": ""}, "metadata.labels": {"empty": ""}},
    ),
    Step(
        "a config map with finalizers",
        "POST",
        f"{CORE}/configmaps",
        {"metadata": {"name": "f", "finalizers": ["x.example/a", "x.example/b"]}},
        201,
    ),
    Step(
        "one finalizer more",
        "PATCH",
        f"{CORE}/configmaps/f",
        {"metadata": {"finalizers": ["x.example/c"]}},
        type=STRATEGIC,
        says={"metadata.finalizers": ["x.example/c", "x.example/a", "x.example/b"]},
    ),
    Step(
        "one finalizer less",
        "PATCH",
        f"{CORE}/configmaps/f",
        {"metadata": {"$deleteFromPrimitiveList/finalizers": ["x.example/a"]}},
        type=STRATEGIC,
        says={"metadata.finalizers": ["x.example/c", "x.example/b"]},
    ),
    Step("and does not change", "PATCH", f"{CORE}/configmaps/m", {"data": {"a": "2"}}, 422, type=MERGE),
    Step(
        "a secret",
        "POST",
        f"{CORE}/secrets",
        {"metadata": {"name": "s"}, "stringData": {"a": "b"}},
        201,
        {"data": {"a": "Yg=="}, "type": "Opaque", "stringData": None},
    ),
    Step(
        "a secret that is not base64",
        "POST",
        f"{CORE}/secrets",
        {"metadata": {"name": "t"}, "data": {"a": "$"}},
        400,
    ),
    Step(
        "an event",
        "POST",
        f"{CORE}/events",
        {
            "metadata": {"name": "e"},
            "type": "Normal",
            "reason": "R",
            "message": "m",
            "involvedObject": {"kind": "Pod", "name": "p", "namespace": NAMESPACE},
        },
        201,
    ),
    Step(
        "the event in its other group",
        "GET",
        f"/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events/e",
        says={"note": "m", "regarding.name": "p"},
    ),
    Step(
        "events about the pod",
        "GET",
        f"{CORE}/events",
        says={"items.0.reason": "R"},
        query={"fieldSelector": "involvedObject.name=p,involvedObject.kind=Pod"},
    ),
    Step(
        "a lease",
        "POST",
        f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases",
        {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me", "leaseDurationSeconds": 15}},
        201,
    ),
    Step(
        "may I",
        "POST",
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        code=201,
        says={"status.allowed": True},
        body={"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}},
    ),
    Step("default stays", "DELETE", "/api/v1/namespaces/default", code=403),
    Step("a collection is not put", "PUT", PODS, {}, 405),
    Step("a pod's log of no pod", "GET", f"{PODS}/p/log", code=404),
    Step("a node", "POST", "/api/v1/nodes", {"metadata": {"name": "node-1"}}, 201),
    Step("delete the node", "DELETE", "/api/v1/nodes/node-1", says={"status": "Success"}),
]
