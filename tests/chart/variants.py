"""Values that installations differ by. Every manifest-wide test renders each of them."""

from __future__ import annotations

from typing import Any

DIGEST = "sha256:" + "0123456789abcdef" * 4

VARIANTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "one namespace": {"scope": "namespace"},
    "several namespaces": {"scope": "namespace", "namespaces": ["team-b", "team-a"]},
    "registry of an air-gapped cluster": {"imageRegistry": "registry.example.com:5000/mirror/berth"},
    "image by digest": {
        "imageRegistry": "registry.example.com",
        "image": {"digest": DIGEST},
        "inference": {"digests": {"cpu": DIGEST, "cuda": DIGEST}},
    },
    "pull secrets": {
        "imagePullSecrets": [{"name": "operator-pull"}],
        "inference": {"imagePullSecrets": ["models-pull", "other-pull"], "imageTag": "0.1.0-rc.1"},
    },
    "vLLM's image from a mirror": {
        "vllm": {"image": {"registry": "registry.example.com/hub", "digest": DIGEST}}
    },
    "weights through a mirror onto volumes": {
        "weights": {
            "volume": "storage-class/fast",
            "fsGroup": None,
            "hubEndpoint": "https://hub.example.com/mirror",
            "proxy": {
                "http": "http://proxy.example.com:3128",
                "https": "http://proxy.example.com:3128",
                "noProxy": ["hub.example.com", ".cluster.local"],
            },
        }
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
    "a standby": {"replicas": 2},
    "a standby in one namespace": {"replicas": 2, "scope": "namespace"},
    "egress of the operator bounded": {
        "networkPolicy": {
            "operator": {
                "restrictEgress": True,
                "apiServerPorts": [6443],
                "apiServerCIDRs": ["10.0.0.1/32", "fd00::1/128"],
            }
        }
    },
    "models fenced in": {
        "networkPolicy": {
            "inference": {
                "enabled": True,
                "namespaces": ["team-b", "team-a"],
                "allowFrom": [{"namespaceSelector": {"matchLabels": {"team": "web"}}}],
                "egress": "hub",
                "extraEgress": [
                    {
                        "to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}],
                        "ports": [{"port": 3128, "protocol": "TCP"}],
                    }
                ],
            }
        }
    },
    "models that reach nothing": {
        "scope": "namespace",
        "namespaces": ["team-a"],
        "networkPolicy": {"inference": {"enabled": True, "egress": "none"}},
    },
    "no network policies": {"networkPolicy": {"operator": {"enabled": False}}},
    "no admission policy": {"admissionPolicy": {"enabled": False}},
    "monitoring": {
        "monitoring": {
            "serviceMonitor": {"enabled": True, "interval": "15s", "labels": {"release": "prometheus"}},
            "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
            "dashboard": {"enabled": True, "annotations": {"grafana_folder": "LLM"}},
        }
    },
    "monitoring of one namespace": {
        "scope": "namespace",
        "monitoring": {
            "serviceMonitor": {
                "enabled": True,
                "authorization": {"credentials": {"name": "scraper", "key": "api-key"}},
            }
        },
    },
    "a further preset": {
        "extraPresets": {
            "example-8b": {
                "description": "An example",
                "model": {
                    "id": "Example-Org/Example-8B",
                    "revision": "0123456789abcdef0123456789abcdef01234567",
                    "license": "apache-2.0",
                    "architecture": "LlamaForCausalLM",
                    "parameters": 8030261248,
                    "dtype": "bfloat16",
                    "contextLength": 8192,
                    "layers": 32,
                    "kvHeads": 8,
                    "headSize": 128,
                },
                "image": "berth-inference",
                "resources": {"gpu": 1, "gpuMemory": "24Gi", "cpu": "4", "memory": "24Gi", "disk": "40Gi"},
                "readinessTimeout": "30m",
            }
        }
    },
    "smoke test elsewhere": {"test": {"namespace": "trial", "timeoutSeconds": 60}},
}

GOLDEN_VARIANTS = {
    name: VARIANTS[name]
    for name in (
        "defaults",
        "one namespace",
        "several namespaces",
        "registry of an air-gapped cluster",
        "image by digest",
        "pull secrets",
        "account and rights brought by someone else",
        "placement",
        "a standby",
        "egress of the operator bounded",
        "models fenced in",
        "monitoring",
        "a further preset",
    )
}
"""The defaults and the twelve whose renderings are kept in golden/, for review as diffs."""
