"""Objects for the tests of kubectl: a Workspace by a small definition of its own, and what stands beside it."""

from typing import Any

WORKSPACES: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "workspaces.kaito.sh"},
    "spec": {
        "group": "kaito.sh",
        "scope": "Namespaced",
        "names": {
            "plural": "workspaces",
            "singular": "workspace",
            "kind": "Workspace",
            "shortNames": ["wk", "wks"],
        },
        "versions": [
            {
                "name": "v1beta1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "additionalPrinterColumns": [
                    {"name": "Instance", "type": "string", "jsonPath": ".resource.instanceType"},
                    {
                        "name": "InferenceReady",
                        "type": "string",
                        "jsonPath": '.status.conditions[?(@.type=="InferenceReady")].status',
                    },
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                    {"name": "Endpoint", "type": "string", "jsonPath": ".status.endpoint", "priority": 1},
                ],
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "required": ["resource"],
                        "properties": {
                            "resource": {
                                "type": "object",
                                "properties": {
                                    "count": {
                                        "type": "integer",
                                        "minimum": 0,
                                        "default": 1,
                                        "description": "How many.",
                                    },
                                    "instanceType": {"type": "string"},
                                },
                            },
                            "inference": {
                                "type": "object",
                                "properties": {
                                    "preset": {"type": "object", "properties": {"name": {"type": "string"}}}
                                },
                            },
                            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                        },
                    }
                },
            }
        ],
    },
}
WORKSPACE: dict[str, Any] = {
    "apiVersion": "kaito.sh/v1beta1",
    "kind": "Workspace",
    "metadata": {"name": "phi"},
    "resource": {"instanceType": "Standard_NC24ads_A100_v4"},
    "inference": {"preset": {"name": "phi-3-mini-4k-instruct"}},
}
DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "i:1", "env": [{"name": "A", "value": "1"}]}]},
        },
    },
}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 5000}]},
}
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p", "labels": {"app": "web"}},
    "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i:1"}]},
}
