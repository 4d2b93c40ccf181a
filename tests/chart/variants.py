"""Values that installations differ by. Every manifest-wide test renders each of them."""

from __future__ import annotations

from typing import Any

DIGEST = "sha256:" + "0123456789abcdef" * 4

VARIANTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "one namespace": {"scope": "namespace"},
    "several namespaces": {"scope": "namespace", "namespaces": ["team-b", "team-a"]},
    "registry of an air-gapped cluster": {"imageRegistry": "registry.example.com:5000/mirror/berth"},
    "image by digest": {"imageRegistry": "registry.example.com", "image": {"digest": DIGEST}},
    "pull secrets": {
        "imagePullSecrets": [{"name": "operator-pull"}],
        "inference": {"imagePullSecrets": ["models-pull", "other-pull"], "imageTag": "0.1.0-rc.1"},
    },
    "CRD brought by someone else": {"crds": {"install": False}},
    "CRD removed with the release": {"crds": {"keep": False}},
    "account and rights brought by someone else": {
        "serviceAccount": {"create": False, "name": "existing"},
        "rbac": {"create": False},
    },
    "annotated account of another name": {
        "serviceAccount": {"name": "named", "annotations": {"example.com/role": "berth"}}
    },
    "user left to the cluster": {"runAsUser": None},
    "resources": {
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "2Gi"}}
    },
    "labels and annotations": {
        "commonLabels": {"team": "ml", "cost-center": "42"},
        "podLabels": {"team": "ml-serving", "mesh": "off"},
        "podAnnotations": {"example.com/scrape": "true"},
    },
    "placement": {
        "nodeSelector": {"example.com/pool": "system"},
        "tolerations": [{"key": "system", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                        {
                            "matchExpressions": [
                                {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]}
                            ]
                        }
                    ]
                }
            }
        },
        "priorityClassName": "system-cluster-critical",
    },
    "settings": {"resyncSeconds": 60, "workers": 32, "logFormat": "text"},
    "names": {"fullnameOverride": "llm-operator"},
    "part of another chart": {"global": {"anything": {"goes": "here"}}},
}
