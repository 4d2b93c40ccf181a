"""Why a Workspace does not serve, for everything that can be wrong with it: the reason, and what is said of it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from berth_operator.plan.diagnosis import diagnose, findings, unplaced
from berth_operator.plan.observed import Observed
from berth_operator.plan.progress import ServerReport
from berth_operator.plan.reasons import SEVERITY, UNDER_WAY, Finding, Reason
from unit.cluster_objects import (
    GPU,
    NOW,
    PROBE,
    STARTED,
    container,
    crashed,
    deployment,
    ended,
    event,
    events,
    node,
    observed,
    pod,
    replica_set,
    runs,
    waits,
)

NO_GPU = "0/3 nodes are available: 1 Insufficient nvidia.com/gpu, 2 node(s) didn't match Pod's node affinity/selector."
TYPED: dict[str, Any] = {
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                    {
                        "matchExpressions": [
                            {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["big"]},
                            {"key": "apps", "operator": "In", "values": ["llm"]},
                        ]
                    }
                ]
            }
        }
    }
}
AFFINITY = (
    "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. preemption: 0/2 nodes."
)


def two_gpus() -> dict[str, Any]:
    need = {"containers": [{"name": "inference", "resources": {"limits": {"nvidia.com/gpu": "2"}}}]}
    return pod(scheduler=NO_GPU, spec=need)


def copying(status: dict[str, Any], name: str = "adapter-a") -> dict[str, Any]:
    """A pod whose server waits for an init container."""
    copier = {**status, "name": name, "image": "example.com/a:1", "ready": False}
    return pod(initContainerStatuses=[copier], containerStatuses=[waits("PodInitializing")])


def said(reason: str, message: str) -> str:
    return json.dumps({"reason": reason, "message": message}) + "\n"


def stranger(name: str, on: str = "n1", count: str = "1", **labels: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "team", "uid": name, "labels": labels},
        "spec": {"nodeName": on, "containers": [{"resources": {"limits": {"nvidia.com/gpu": count}}}]},
        "status": {"phase": "Running"},
    }


def fetching(status: dict[str, Any]) -> dict[str, Any]:
    """A pod whose weights are fetched, or meant to be."""
    return pod(
        spec={"initContainers": [{"name": "fetch-weights"}]},
        initContainerStatuses=[status],
        containerStatuses=[waits("PodInitializing")],
    )


def unseen(since: str = "2026-01-01T09:55:00Z", **more: Any) -> dict[str, Any]:
    """A pod that no scheduler has a word for."""
    new = pod(node="", **more)
    new["metadata"]["creationTimestamp"] = since
    new["status"]["conditions"] = []
    return new


def recreating() -> dict[str, Any]:
    live = deployment(total=0)
    return {**live, "spec": {**live["spec"], "strategy": {"type": "Recreate"}}}


def leaving(since: str = "2026-01-01T09:50:00Z", **metadata: Any) -> dict[str, Any]:
    """A pod of the earlier template that should have gone by then."""
    old = pod("ws-old-1", stamp="old", ready=True)
    old["metadata"] |= {"deletionTimestamp": since, **metadata}
    return old


def paused(**status: Any) -> dict[str, Any]:
    live = deployment(**status)
    return {**live, "spec": {**live["spec"], "paused": True}}


def cannot_create(message: str) -> Observed:
    """A ReplicaSet that makes no pod."""
    failure = {"type": "ReplicaFailure", "status": "True", "message": message}
    return observed(replica_sets=(replica_set(conditions=[failure]),), deployment=deployment(total=0))


ON_CPU: dict[str, Any] = {"containers": [{"name": "inference", "resources": {"limits": {"memory": "20Gi"}}}]}
BY_SIDECAR: dict[str, Any] = {
    "initContainers": [{"name": "vllm", "restartPolicy": "Always", "resources": GPU}],
    "containers": [{"name": "inference"}],
}


def with_vllm(status: dict[str, Any], front: dict[str, Any] | None = None, **more: Any) -> Observed:
    """A pod that runs vLLM as a sidecar; the front waits for it unless told otherwise."""
    sidecar = {"name": "vllm", "restartPolicy": "Always", "startupProbe": PROBE, "resources": GPU}
    waiting = front or waits("PodInitializing", started=False)
    vllm = {**status, "name": "vllm", "image": "example.com/vllm:1"}
    own = pod(
        spec={"initContainers": [sidecar], "containers": [{"name": "inference"}]},
        initContainerStatuses=[vllm],
        containerStatuses=[waiting],
    )
    return observed(own, **more)


# (what is wrong, what is observed, the reason, words that the message must have)
CASES: list[tuple[str, Observed, Reason, tuple[str, ...]]] = [
    # --- objects that are missing
    (
        "a Secret that the environment needs is missing",
        observed(pod(containerStatuses=[waits("CreateContainerConfigError", 'secret "hub" not found')])),
        Reason.SECRET_MISSING,
        ('Secret "hub"', 'namespace "ns"', "create it"),
    ),
    (
        "a Secret lacks the key that is needed",
        observed(
            pod(
                containerStatuses=[
                    waits("CreateContainerConfigError", "couldn't find key HF_TOKEN in Secret ns/hub")
                ]
            )
        ),
        Reason.SECRET_MISSING,
        ('key "HF_TOKEN"', 'Secret "hub"'),
    ),
    (
        "a ConfigMap that the environment needs is missing",
        observed(pod(containerStatuses=[waits("CreateContainerConfigError", 'configmap "cm" not found')])),
        Reason.CONFIG_MAP_MISSING,
        ('ConfigMap "cm"',),
    ),
    (
        "a ConfigMap that a volume mounts is missing, which only an Event tells",
        observed(
            pod(containerStatuses=[waits("ContainerCreating")]),
            events=events(
                event("FailedMount", 'MountVolume.SetUp failed for volume "c" : configmap "cm" not found'),
            ),
        ),
        Reason.CONFIG_MAP_MISSING,
        ('ConfigMap "cm"', 'pod "ws-new-1"'),
    ),
    (
        "the Secret of the API keys is missing",
        observed(
            pod(containerStatuses=[waits("ContainerCreating")]),
            events=events(
                event(
                    "FailedMount", 'MountVolume.SetUp failed for volume "api-keys" : secret "keys" not found'
                ),
            ),
        ),
        Reason.SECRET_MISSING,
        ('Secret "keys"', 'namespace "ns"', "create it"),
    ),
    (
        "a mounted Secret lacks a key",
        observed(
            pod(containerStatuses=[waits("ContainerCreating")]),
            events=events(
                event(
                    "FailedMount",
                    'MountVolume.SetUp failed for volume "c" : references non-existent secret key: k',
                )
            ),
        ),
        Reason.SECRET_MISSING,
        ('key "k"',),
    ),
    (
        "a volume cannot be attached",
        observed(
            pod(containerStatuses=[waits("ContainerCreating")]),
            events=events(event("FailedAttachVolume", "Multi-Attach error for volume pvc-1")),
        ),
        Reason.VOLUME_UNAVAILABLE,
        ("Multi-Attach error",),
    ),
    (
        "an image pull secret is missing, and the registry refuses",
        observed(
            pod(
                containerStatuses=[waits("ImagePullBackOff", 'Back-off pulling image "x": 401 Unauthorized')]
            ),
            events=events(
                event(
                    "FailedToRetrieveImagePullSecret",
                    "Unable to retrieve some image pull secrets (mine); attempting to pull the image may not succeed.",
                )
            ),
        ),
        Reason.PULL_SECRET_MISSING,
        ('image pull secret "mine"', "kubectl create secret docker-registry mine"),
    ),
    # --- images
    (
        "the image's tag does not exist",
        observed(
            pod(containerStatuses=[waits("ErrImagePull", "rpc error: code = NotFound: manifest unknown")])
        ),
        Reason.IMAGE_NOT_FOUND,
        ("registry.example/berth:1", "manifest unknown"),
    ),
    (
        "the registry wants credentials",
        observed(pod(containerStatuses=[waits("ErrImagePull", "failed to authorize: 403 Forbidden")])),
        Reason.IMAGE_ACCESS_DENIED,
        ("image pull secret",),
    ),
    (
        "the registry limits pulls",
        observed(
            pod(
                containerStatuses=[
                    waits("ErrImagePull", "toomanyrequests: You have reached your pull rate limit")
                ]
            )
        ),
        Reason.IMAGE_RATE_LIMITED,
        ("refuses further requests",),
    ),
    (
        "the kubelet backs off and an Event has the cause",
        observed(
            pod(
                containerStatuses=[
                    waits("ImagePullBackOff", 'Back-off pulling image "registry.example/berth:1"')
                ]
            ),
            events=events(event("Failed", 'Failed to pull image "registry.example/berth:1": not found')),
        ),
        Reason.IMAGE_NOT_FOUND,
        ("does not have it",),
    ),
    (
        "the registry does not answer",
        observed(pod(containerStatuses=[waits("ErrImagePull", "dial tcp 10.0.0.1:443: i/o timeout")])),
        Reason.IMAGE_PULL_FAILED,
        ("i/o timeout", "can be reached"),
    ),
    (
        "the registry does not answer, and the image has a name that could be a cause",
        observed(
            pod(
                containerStatuses=[
                    waits(
                        "ErrImagePull",
                        'failed to resolve reference "registry.example/not-found/denied:429": failed to do request: '
                        'Head "https://registry.example/v2/not-found/denied/manifests/429": dial tcp: i/o timeout',
                        image="registry.example/not-found/denied:429",
                    )
                ]
            )
        ),
        Reason.IMAGE_PULL_FAILED,
        ("i/o timeout",),
    ),
    (
        "the image is there for other processors alone",
        observed(
            pod(
                containerStatuses=[
                    waits(
                        "ErrImagePull",
                        "rpc error: code = NotFound: no match for platform in manifest: not found",
                    )
                ]
            )
        ),
        Reason.IMAGE_NOT_FOUND,
        ("for other processors only", "kubernetes.io/arch"),
    ),
    (
        "the image's name is no name",
        observed(pod(containerStatuses=[waits("InvalidImageName", "couldn't parse image name")])),
        Reason.IMAGE_PULL_FAILED,
        ("InvalidImageName",),
    ),
    # --- scheduling
    (
        "no node is of the instance type, which the nodes show",
        observed(
            pod(scheduler=AFFINITY, spec=TYPED),
            nodes=(node(labels={"node.kubernetes.io/instance-type": "small", "apps": "llm"}),),
        ),
        Reason.INSTANCE_TYPE_MISSING,
        ("no node is of instance type big", "(there are: small)", "autoscaler"),
    ),
    (
        "nodes of the instance type lack the labels",
        observed(
            pod(scheduler=AFFINITY, spec=TYPED),
            nodes=(node(labels={"node.kubernetes.io/instance-type": "big"}),),
        ),
        Reason.NO_MATCHING_NODE,
        ("apps=llm", "none of 1 nodes"),
    ),
    (
        "no node carries the labels, where nodes may not be read",
        observed(pod(scheduler=AFFINITY, spec={"nodeSelector": {"apps": "llm"}})),
        Reason.NO_MATCHING_NODE,
        ("apps=llm",),
    ),
    (
        "the cluster has no node",
        observed(pod(scheduler="no nodes available to schedule pods"), nodes=()),
        Reason.NO_MATCHING_NODE,
        ("the cluster has no node",),
    ),
    (
        "no scheduler looks at the pod",
        observed(unseen(spec={"schedulerName": "batch"})),
        Reason.UNSCHEDULABLE,
        (
            'no scheduler has looked at pod "ws-new-1" of 2026-01-01T09:55:00Z',
            'called "batch"',
            "schedulerName",
        ),
    ),
    (
        "every GPU is taken, and others hold them",
        observed(
            pod(scheduler=NO_GPU),
            nodes=(node(gpus=2),),
            gpu_pods=(stranger("train"), stranger("chat", **{"kaito.sh/workspace": "other"})),
        ),
        Reason.NO_FREE_GPU,
        ("pod team/train holds 1 on node n1", "pod team/chat of Workspace other holds 1 on node n1"),
    ),
    (
        "every GPU is taken, and one that is free is on a cordoned node",
        observed(
            pod(
                scheduler="0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) were unschedulable."
            ),
            nodes=(node(), node("n2", cordoned=True)),
            gpu_pods=(stranger("train"),),
        ),
        Reason.NO_FREE_GPU,
        ("pod team/train holds 1 on node n1; cordoned, tainted or not ready: n2",),
    ),
    (
        "the node with the GPUs is cordoned, and the others have none",
        observed(
            pod(
                scheduler="0/4 nodes are available: 1 node(s) were unschedulable, 3 Insufficient nvidia.com/gpu. "
                "preemption: 0/4 nodes are available: 1 Preemption is not helpful for scheduling."
            ),
            nodes=(node("g1", cordoned=True), *(node(f"c{number}", gpus=0) for number in range(3))),
        ),
        Reason.NODES_NOT_READY,
        ('node "g1" is cordoned', "kubectl uncordon g1"),
    ),
    (
        "the node with the GPUs does not answer, and the others have none",
        observed(
            pod(
                scheduler="0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) had untolerated taint "
                "{node.kubernetes.io/unreachable: }."
            ),
            nodes=(
                node("g1", taints=[{"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"}]),
                node("c1", gpus=0),
            ),
        ),
        Reason.NODES_NOT_READY,
        ('node "g1" is not ready', "kubectl describe node g1"),
    ),
    (
        "a pod that is ending holds the GPU",
        observed(
            pod(scheduler=NO_GPU),
            nodes=(node(),),
            gpu_pods=(
                {**stranger("x"), "metadata": {"name": "x", "namespace": "team", "deletionTimestamp": NOW}},
            ),
        ),
        Reason.NO_FREE_GPU,
        ("pod team/x, which is ending, holds 1 on node n1",),
    ),
    (
        "the scheduler has seen a GPU node open that we know as closed",
        observed(
            pod(scheduler="0/1 nodes are available: 1 Insufficient nvidia.com/gpu."),
            nodes=(node(cordoned=True),),
            gpu_pods=(stranger("train"),),
        ),
        Reason.NO_FREE_GPU,
        ("pod team/train holds 1 on node n1; cordoned, tainted or not ready: n1",),
    ),
    (
        "the node with the GPUs is kept for others, and the rest have none",
        observed(
            pod(
                scheduler="0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) had untolerated taint "
                "{team: a}."
            ),
            nodes=(
                node("g1", taints=[{"key": "team", "value": "a", "effect": "NoSchedule"}]),
                node("c1", gpus=0),
            ),
        ),
        Reason.NODES_TAINTED,
        ('node "g1" with team=a',),
    ),
    (
        "the node with the GPUs lacks memory, and the others have no GPU",
        observed(
            pod(
                scheduler="0/3 nodes are available: 1 Insufficient memory, 2 Insufficient nvidia.com/gpu.",
                spec={
                    "containers": [
                        {
                            "name": "inference",
                            "resources": {"requests": {"memory": "64Gi", "nvidia.com/gpu": "1"}},
                        }
                    ]
                },
            ),
            nodes=(node("g1"), node("c1", gpus=0, memory="512Gi"), node("c2", gpus=0)),
        ),
        Reason.INSUFFICIENT_MEMORY,
        ("no node has 64.0 GiB of memory free; the largest matching node offers 32.0 GiB of memory in all",),
    ),
    (
        "the claim's disk is in another zone than the node with the GPUs",
        observed(
            pod(
                scheduler="0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) had volume node affinity "
                "conflict."
            ),
            nodes=(node("g1"), node("c1", gpus=0)),
        ),
        Reason.VOLUME_UNAVAILABLE,
        ("volume node affinity conflict",),
    ),
    (
        "every GPU is taken, and who holds them may not be read",
        observed(pod(scheduler=NO_GPU)),
        Reason.NO_FREE_GPU,
        ("may not be read", "berth.dev/accelerator: cpu"),
    ),
    (
        "no node has as many GPUs as a pod needs",
        observed(two_gpus(), nodes=(node(gpus=1),)),
        Reason.INSUFFICIENT_GPUS,
        ("needs 2 GPUs", "the largest matching node has 1"),
    ),
    (
        "no node has a GPU at all",
        observed(pod(scheduler=NO_GPU), nodes=(node(gpus=0),)),
        Reason.INSUFFICIENT_GPUS,
        ("no matching node has one",),
    ),
    (
        "a node has a GPU whose device plugin is missing",
        observed(pod(scheduler=NO_GPU), nodes=(node(gpus=0, labels={"nvidia.com/gpu.product": "A10"}),)),
        Reason.DEVICE_PLUGIN_MISSING,
        ('node "n1"', "offers no nvidia.com/gpu", "GPU operator"),
    ),
    (
        "a device plugin that worked once reports no GPU any more",
        observed(pod(scheduler=NO_GPU), nodes=(node(gpus=0, capacity={"nvidia.com/gpu": "0"}),)),
        Reason.DEVICE_PLUGIN_MISSING,
        ('node "n1"', "not working, or its GPUs are not healthy"),
    ),
    (
        "a machine whose type has a GPU offers none",
        observed(
            pod(scheduler=NO_GPU),
            nodes=(node(gpus=0, labels={"node.kubernetes.io/instance-type": "g5.xlarge"}),),
        ),
        Reason.DEVICE_PLUGIN_MISSING,
        ('node "n1"',),
    ),
    (
        "a node of 4 CPUs keeps a few hundredths for itself",
        observed(
            pod(
                scheduler="0/1 nodes are available: 1 Insufficient cpu.",
                spec={"containers": [{"name": "inference", "resources": {"requests": {"cpu": "4"}}}]},
            ),
            nodes=(node(cpu="3860m"),),
        ),
        Reason.INSUFFICIENT_CPU,
        ("no node has 4 CPU free", "offers 3.86 CPU in all", "emptying these would not be enough"),
    ),
    (
        "the only node with enough memory is cordoned",
        observed(
            pod(
                scheduler="0/2 nodes are available: 1 Insufficient memory, 1 node(s) were unschedulable.",
                spec={"containers": [{"name": "inference", "resources": {"requests": {"memory": "20Gi"}}}]},
            ),
            nodes=(node(memory="8Gi"), node("n2", cordoned=True)),
        ),
        Reason.NODES_NOT_READY,
        ("kubectl uncordon n2",),
    ),
    (
        "there is not enough memory on any node",
        observed(
            pod(
                scheduler="0/1 nodes are available: 1 Insufficient memory.",
                spec={"containers": [{"name": "inference", "resources": {"requests": {"memory": "64Gi"}}}]},
            ),
            nodes=(node(),),
        ),
        Reason.INSUFFICIENT_MEMORY,
        ("64.0 GiB of memory", "offers 32.0 GiB of memory in all", "smaller preset"),
    ),
    (
        "there is not enough CPU free",
        observed(pod(scheduler="0/1 nodes are available: 1 Insufficient cpu.")),
        Reason.INSUFFICIENT_CPU,
        ("CPU",),
    ),
    (
        "there is not enough disk free",
        observed(pod(scheduler="0/1 nodes are available: 1 Insufficient ephemeral-storage.")),
        Reason.INSUFFICIENT_DISK,
        ("disk",),
    ),
    (
        "the nodes are tainted",
        observed(
            pod(scheduler="0/1 nodes are available: 1 node(s) had untolerated taint {team: a}."),
            nodes=(node(taints=[{"key": "team", "value": "a", "effect": "NoSchedule"}]),),
        ),
        Reason.NODES_TAINTED,
        ("team=a", 'node "n1"'),
    ),
    (
        "the nodes are tainted, where nodes may not be read",
        observed(pod(scheduler="0/1 nodes are available: 1 node(s) had untolerated taint {team: a}.")),
        Reason.NODES_TAINTED,
        ("{team: a}",),
    ),
    (
        "the nodes are cordoned",
        observed(pod(scheduler="0/1 nodes are available: 1 node(s) were unschedulable.")),
        Reason.NODES_NOT_READY,
        ("cordoned",),
    ),
    (
        "the only node is short of disk",
        observed(
            pod(scheduler="0/1 nodes: 1 node(s) had untolerated taint {node.kubernetes.io/disk-pressure: }."),
            nodes=(node(taints=[{"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule"}]),),
        ),
        Reason.NODES_NOT_READY,
        ("short of disk",),
    ),
    (
        "the scheduler says something else",
        observed(pod(scheduler="0/1 nodes are available: 1 node(s) exceed max volume count.")),
        Reason.UNSCHEDULABLE,
        ("exceed max volume count",),
    ),
    (
        "a rollout's new pod waits for the GPU that the old one holds",
        observed(
            pod(scheduler=NO_GPU),
            pod("ws-old-1", ready=True, stamp="old"),
            deployment=deployment(ready=1, total=2, updatedReplicas=1),
            replica_sets=(replica_set(), replica_set("1", "old")),
        ),
        Reason.ROLLOUT_BLOCKED,
        ('pod "ws-old-1"', "berth.dev/rollout: recreate", "goes on serving"),
    ),
    (
        "a rollout's new pod waits for the GPU that an old one holds which does not serve either",
        observed(
            pod(scheduler=NO_GPU),
            pod("ws-old-1", stamp="old", containerStatuses=[crashed(1)]),
            deployment=deployment(total=2, updatedReplicas=1),
            replica_sets=(replica_set(), replica_set("1", "old")),
        ),
        Reason.ROLLOUT_BLOCKED,
        ("the old one does not serve either", "berth.dev/rollout: recreate, which ends the old pod first"),
    ),
    (
        "a rollout's new pod waits for a GPU, and the old one's is on a node that it may not use",
        observed(
            pod(scheduler=NO_GPU, spec={"nodeSelector": {"pool": "new"}}),
            pod("ws-old-1", node="n2", ready=True, stamp="old"),
            deployment=deployment(ready=1, total=2, updatedReplicas=1),
            replica_sets=(replica_set(), replica_set("1", "old")),
            nodes=(node(labels={"pool": "new"}), node("n2")),
            gpu_pods=(stranger("train"), stranger("ws-old-1", on="n2")),
        ),
        Reason.NO_FREE_GPU,
        ("pod team/train holds 1 on node n1 (1 pod", "goes on serving"),
    ),
    (
        "a rollout's new pod waits for the memory that the old one holds",
        observed(
            pod(scheduler="0/1 nodes are available: 1 Insufficient memory.", spec=ON_CPU),
            pod("ws-old-1", ready=True, stamp="old", spec=ON_CPU),
            deployment=deployment(ready=1, total=2, updatedReplicas=1),
            replica_sets=(replica_set(), replica_set("1", "old")),
            nodes=(node(),),
        ),
        Reason.ROLLOUT_BLOCKED,
        ("needs 20.0 GiB of memory", 'pod "ws-old-1"', "berth.dev/rollout: recreate"),
    ),
    (
        "the claim of the weights does not exist",
        observed(
            pod(
                scheduler='0/1 nodes are available: persistentvolumeclaim "models" not found. preemption: 0/1 nodes.'
            )
        ),
        Reason.VOLUME_UNAVAILABLE,
        ('persistentvolumeclaim "models" not found', "berth.dev/weights"),
    ),
    (
        "the claim of the weights is bound to a volume of other nodes",
        observed(
            pod(scheduler="0/1 nodes are available: 1 node(s) had volume node affinity conflict."),
            nodes=(node(),),
        ),
        Reason.VOLUME_UNAVAILABLE,
        ("volume node affinity conflict", 'pod "ws-new-1"'),
    ),
    (
        "the claim of the weights waits for a volume",
        observed(pod(scheduler="0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.")),
        Reason.VOLUME_UNAVAILABLE,
        ("unbound immediate", "kubectl describe pvc"),
    ),
    (
        "the node has no folder of the weights, which an Event tells",
        observed(
            pod(containerStatuses=[waits("PodInitializing")]),
            events=events(
                event(
                    "FailedMount",
                    'MountVolume.SetUp failed for volume "weights" : hostPath type check failed: '
                    "/opt/kaito/models/m is not a directory",
                )
            ),
        ),
        Reason.VOLUME_UNAVAILABLE,
        ("/opt/kaito/models/m is not a directory",),
    ),
    # --- creation
    (
        "a quota is used up, which the ReplicaSet says",
        observed(
            replica_sets=(
                replica_set(
                    conditions=[
                        {
                            "type": "ReplicaFailure",
                            "status": "True",
                            "message": 'pods "ws-x" is forbidden: exceeded quota: gpus, requested: 1, used: 4',
                        }
                    ]
                ),
            ),
            deployment=deployment(total=0),
        ),
        Reason.QUOTA_EXCEEDED,
        ('ReplicaSet "ws-new"', 'ResourceQuota "gpus"', "requested: 1, used: 4"),
    ),
    (
        "pod security refuses the pods",
        observed(
            deployment=deployment(
                total=0,
                conditions=[
                    {
                        "type": "ReplicaFailure",
                        "status": "True",
                        "message": 'pods "ws-x" is forbidden: violates PodSecurity "restricted:latest": privileged',
                    }
                ],
            ),
        ),
        Reason.ADMISSION_REFUSED,
        ("violates PodSecurity",),
    ),
    (
        "a quota has no room for a rollout's one pod more",
        observed(
            pod("ws-old-1", ready=True, stamp="old"),
            replica_sets=(
                replica_set(
                    conditions=[
                        {
                            "type": "ReplicaFailure",
                            "status": "True",
                            "message": "exceeded quota: gpus, used: 1",
                        }
                    ]
                ),
                replica_set("1", "old"),
            ),
            deployment=deployment(ready=1, total=1, updatedReplicas=0),
        ),
        Reason.QUOTA_EXCEEDED,
        ('ResourceQuota "gpus"', "goes on serving", "berth.dev/rollout: recreate"),
    ),
    (
        "a quota counts memory limits, and the pods have none",
        cannot_create(
            'pods "ws-new-abcde" is forbidden: failed quota: team: must specify limits.memory for: inference'
        ),
        Reason.ADMISSION_REFUSED,
        ('ResourceQuota "team"', "must specify limits.memory for: inference", "LimitRange"),
    ),
    (
        "the template's service account does not exist",
        cannot_create(
            'pods "ws-new-" is forbidden: error looking up service account ns/own: serviceaccount "own" not found'
        ),
        Reason.POD_CREATION_FAILED,
        ('ServiceAccount "own" does not exist', "create it"),
    ),
    (
        "an admission webhook does not answer",
        cannot_create(
            'Internal error occurred: failed calling webhook "check.example.com": failed to call webhook: Post '
            '"https://policy.policy.svc:443/check?timeout=10s": no endpoints available for service "policy"'
        ),
        Reason.POD_CREATION_FAILED,
        ('webhook "check.example.com" does not answer', "no endpoints available"),
    ),
    (
        "pods cannot be created for another reason",
        observed(
            deployment=deployment(
                total=0,
                conditions=[{"type": "ReplicaFailure", "status": "True", "message": "etcd is on fire"}],
            )
        ),
        Reason.POD_CREATION_FAILED,
        ("etcd is on fire",),
    ),
    # --- containers
    (
        "the container cannot be set up for another reason",
        observed(pod(containerStatuses=[waits("CreateContainerConfigError", "container has runAsNonRoot")])),
        Reason.CONTAINER_CONFIG_ERROR,
        ("runAsNonRoot",),
    ),
    (
        "the pod's sandbox cannot be made",
        observed(
            pod(containerStatuses=[waits("ContainerCreating")]),
            events=events(event("FailedCreatePodSandBox", "cni: no addresses left")),
        ),
        Reason.CONTAINER_CONFIG_ERROR,
        ("no addresses left",),
    ),
    (
        "the command is not in the image",
        observed(pod(containerStatuses=[waits("RunContainerError", 'exec: "python": not found')])),
        Reason.CONTAINER_START_FAILED,
        ("server image",),
    ),
    (
        "the program is for another processor",
        observed(pod(containerStatuses=[crashed(255, "exec /usr/local/bin/python: exec format error\n")])),
        Reason.CONTAINER_START_FAILED,
        (
            "cannot be started (3 restarts): exec /usr/local/bin/python: exec format error",
            "kubernetes.io/arch",
        ),
    ),
    (
        "the container crashes, and its last line ends with the error",
        observed(pod(containerStatuses=[crashed(1, "start\nopen /etc/x: input/output error\n")])),
        Reason.CRASH_LOOP,
        ('"open /etc/x: input/output error"',),
    ),
    (
        "the container crashes, with its last words",
        observed(
            pod(
                containerStatuses=[
                    crashed(
                        1,
                        "2026-01-01 10:00:00,1 INFO x: hello\nTraceback (most recent call last):\nValueError: bad\n",
                    )
                ]
            )
        ),
        Reason.CRASH_LOOP,
        ("exit 1", "3 restarts", "ValueError: bad", "--previous"),
    ),
    (
        "the container runs again after a crash, and what it does is told",
        observed(pod(containerStatuses=[runs(lastState=ended(1), restartCount=1)])),
        Reason.CRASH_LOOP,
        ("1 restart;", "now its model is loading"),
    ),
    (
        "the container was killed for memory",
        observed(pod(containerStatuses=[crashed(137, reason="OOMKilled")])),
        Reason.OUT_OF_MEMORY,
        ("OOMKilled (exit 137)", 'node "n1"', "more memory"),
    ),
    (
        "the model does not fit into the GPU, as the server says",
        observed(
            pod(
                containerStatuses=[
                    crashed(1, said("gpu_out_of_memory", "m does not fit into the GPU's memory"))
                ]
            )
        ),
        Reason.GPU_OUT_OF_MEMORY,
        ("does not fit into the GPU", "larger GPU"),
    ),
    (
        "another server runs out of GPU memory, as its log says",
        observed(
            pod(containerStatuses=[crashed(1, "torch.OutOfMemoryError: CUDA out of memory. Tried 2 GiB")])
        ),
        Reason.GPU_OUT_OF_MEMORY,
        ("CUDA out of memory",),
    ),
    (
        "the hub refuses the token, as the server says",
        observed(pod(containerStatuses=[crashed(1, said("access_denied", "m is gated"))])),
        Reason.MODEL_ACCESS_DENIED,
        ("m is gated", "modelAccessSecret"),
    ),
    (
        "the disk is full, as the server says",
        observed(pod(containerStatuses=[crashed(1, said("disk_full", "no space left"))])),
        Reason.DISK_FULL,
        ("no space left",),
    ),
    (
        "the model is not on the hub, as the server says",
        observed(pod(containerStatuses=[crashed(1, said("model_unavailable", "m is not on the hub"))])),
        Reason.MODEL_UNAVAILABLE,
        ("m is not on the hub",),
    ),
    (
        "the hub refuses the token to what fetches the weights",
        observed(fetching(crashed(1, said("access_denied", "m is gated")) | {"name": "fetch-weights"})),
        Reason.MODEL_ACCESS_DENIED,
        ('init container "fetch-weights"', "fails (3 restarts): m is gated", "modelAccessSecret"),
    ),
    (
        "the volume is too small for the weights",
        observed(
            fetching(crashed(1, said("disk_full", "no space left: 14.2 GiB")) | {"name": "fetch-weights"})
        ),
        Reason.DISK_FULL,
        ('init container "fetch-weights"', "14.2 GiB", "larger volume"),
    ),
    (
        "the hub has had too many requests, and the weights are being fetched again",
        observed(
            fetching(
                runs(
                    name="fetch-weights",
                    lastState=ended(
                        1, said("model_unavailable", "the hub answered 429: wait, or use a mirror")
                    ),
                    restartCount=2,
                )
            )
        ),
        Reason.MODEL_UNAVAILABLE,
        ("2 restarts; now its weights are being fetched", "429: wait, or use a mirror"),
    ),
    (
        "what fetches the weights crashes",
        observed(fetching(crashed(1, "ValueError: bad") | {"name": "fetch-weights"})),
        Reason.CRASH_LOOP,
        ("ValueError: bad", "-c fetch-weights --previous"),
    ),
    (
        "an adapter does not fit, as the server says",
        observed(
            pod(
                containerStatuses=[
                    crashed(1, said("invalid_adapter", 'adapter "a" cannot be merged: no rank'))
                ]
            )
        ),
        Reason.INVALID_ADAPTER,
        ('adapter "a" cannot be merged: no rank', "inference.adapters"),
    ),
    (
        "an adapter's image has no files where they should be",
        observed(copying(crashed(1, "cp: can't stat '/data/.': No such file or directory"))),
        Reason.INVALID_ADAPTER,
        ('cannot copy adapter "a"', 'image "example.com/a:1" (exit 1): cp: can\'t stat', "under /data"),
    ),
    (
        "an adapter's image has no cp",
        observed(
            copying(
                waits(
                    "RunContainerError",
                    'failed to create containerd task: exec: "cp": executable file not found in $PATH',
                )
            )
        ),
        Reason.INVALID_ADAPTER,
        ('adapter "a"', "executable file not found", "busybox"),
    ),
    (
        "an adapter's image has no cp, and the kubelet waits before it tries again",
        observed(
            copying(
                {
                    **waits("CrashLoopBackOff", "back-off 10s"),
                    "lastState": ended(128, 'exec: "cp": executable file not found', reason="StartError"),
                }
            )
        ),
        Reason.INVALID_ADAPTER,
        ("(exit 128)", "busybox"),
    ),
    (
        "an adapter's image is not there",
        observed(copying(waits("ErrImagePull", "example.com/a:1: not found"))),
        Reason.IMAGE_NOT_FOUND,
        ('container "adapter-a"', "push it"),
    ),
    (
        "vLLM loads the model",
        with_vllm(runs()),
        Reason.STARTING,
        ('pod "ws-new-1" is starting: vLLM is loading the model (2 min of the 30 min that it may take)',),
    ),
    (
        "vLLM serves and its front starts",
        with_vllm(runs(started=True, ready=True), runs()),
        Reason.STARTING,
        ("is starting: its model is loading",),
    ),
    (
        "vLLM serves and its front does not",
        with_vllm(runs(started=True, ready=True), runs(started=True)),
        Reason.NOT_READY,
        ("does not answer its readiness probe",),
    ),
    (
        "vLLM starts again beside a front that waits for it",
        with_vllm(runs(), runs(started=True)),
        Reason.STARTING,
        ("vLLM is loading the model",),
    ),
    (
        "vLLM runs out of GPU memory",
        with_vllm(crashed(1, "(EngineCore pid=99) ERROR torch.OutOfMemoryError: CUDA out of memory. Tried")),
        Reason.GPU_OUT_OF_MEMORY,
        (
            'container "vllm" of pod "ws-new-1" ran out of GPU memory',
            "CUDA out of memory. Tried",
            "lower max-model-len",
        ),
    ),
    (
        "vLLM finds no room for one conversation",
        with_vllm(crashed(1, "ValueError: No available memory for the cache blocks. Try increasing")),
        Reason.GPU_OUT_OF_MEMORY,
        ("No available memory for the cache blocks", "lower max-model-len"),
    ),
    (
        "somebody else holds the memory of vLLM's GPU",
        with_vllm(
            crashed(
                1,
                "ValueError: Free memory on device (3.2/23.7 GiB) on startup is less than desired GPU memory "
                "utilization (0.9, 21.3 GiB).",
            )
        ),
        Reason.GPU_OUT_OF_MEMORY,
        ("Free memory on device (3.2/23.7 GiB)",),
    ),
    (
        "vLLM refuses a flag",
        with_vllm(crashed(2, "vllm serve: error: unrecognized arguments: --swap-space 4")),
        Reason.CRASH_LOOP,
        (
            'container "vllm" of pod "ws-new-1" keeps ending: exit 2',
            "unrecognized arguments",
            "kubectl logs -n ns ws-new-1 -c vllm --previous",
        ),
    ),
    (
        "vLLM's image is another program's",
        with_vllm(waits("RunContainerError", 'exec: "python3": executable file not found in $PATH')),
        Reason.CONTAINER_START_FAILED,
        ('container "vllm" of pod "ws-new-1" cannot be started', "check that the image is a vLLM image"),
    ),
    (
        "a rollout waits for the GPU that the vLLM of the old template holds",
        observed(
            pod(scheduler=NO_GPU, spec=BY_SIDECAR),
            pod("ws-old-1", stamp="old", ready=True, spec=BY_SIDECAR),
            nodes=(node(),),
        ),
        Reason.ROLLOUT_BLOCKED,
        ('pod "ws-old-1"', "berth.dev/rollout: recreate"),
    ),
    (
        "vLLM's image does not exist",
        with_vllm(waits("ErrImagePull", 'manifest for "example.com/vllm:1" not found: manifest unknown')),
        Reason.IMAGE_NOT_FOUND,
        ('container "vllm"', "example.com/vllm:1"),
    ),
    (
        "vLLM is killed for memory while its front runs",
        with_vllm(crashed(137, reason="OOMKilled"), runs(started=True)),
        Reason.OUT_OF_MEMORY,
        ('container "vllm" of pod "ws-new-1" was OOMKilled',),
    ),
    (
        "an adapter is being copied",
        observed(copying(runs())),
        Reason.STARTING,
        ('adapter "a" is being copied out of its image',),
    ),
    (
        "an init container of a template runs",
        observed(copying(runs(), "fetch")),
        Reason.STARTING,
        ('its init container "fetch" runs',),
    ),
    (
        "another node of the group that holds the model is gone",
        with_vllm(crashed(1, said("peer_lost", "node 1 of the group's 2 ended"))),
        Reason.PEER_LOST,
        (
            'container "vllm" of pod "ws-new-1" cannot serve (3 restarts): node 1 of the group\'s 2 ended',
            "wait",
        ),
    ),
    (
        "the server's report has a reason that this operator does not know",
        observed(pod(containerStatuses=[crashed(1, said("sunspots", "a bit flipped"))])),
        Reason.CRASH_LOOP,
        ("a bit flipped",),
    ),
    (
        "the startup probe ended the server, which an Event tells",
        observed(
            pod(containerStatuses=[runs(lastState=ended(0, reason="Completed"), restartCount=1)]),
            events=events(event("Killing", "Container inference failed startup probe, will be restarted")),
        ),
        Reason.STARTUP_TIMED_OUT,
        ("within 30 min", "readinessTimeout"),
    ),
    (
        "the liveness probe ended the server, which an Event tells",
        observed(
            pod(containerStatuses=[crashed(137, startedAt=STARTED, finishedAt=NOW)]),
            events=events(event("Killing", "Container inference failed liveness probe, will be restarted")),
        ),
        Reason.CRASH_LOOP,
        ("exit 137", "did not answer its liveness probe"),
    ),
    (
        "the startup probe ended the server, which its times tell",
        observed(
            pod(
                containerStatuses=[
                    crashed(
                        137, startedAt="2026-01-01T09:00:00Z", finishedAt="2026-01-01T09:30:20Z", restarts=1
                    )
                ]
            )
        ),
        Reason.STARTUP_TIMED_OUT,
        ("within 30 min",),
    ),
    # --- nodes
    (
        "the pod was evicted",
        observed(
            pod(
                phase="Failed",
                reason="Evicted",
                message="The node was low on resource: ephemeral-storage",
                containerStatuses=[container(state=ended(137))],
            )
        ),
        Reason.POD_EVICTED,
        ('was evicted from node "n1"', "ephemeral-storage"),
    ),
    (
        "the pod's node was shut down",
        observed(
            pod(
                phase="Failed",
                reason="Terminated",
                message="Pod was terminated in response to imminent node shutdown.",
                containerStatuses=[container(state=ended(0, reason="Completed"))],
            )
        ),
        Reason.POD_EVICTED,
        ('was ended by node "n1"', "imminent node shutdown"),
    ),
    (
        "the node's GPU is gone when the pod comes",
        observed(
            pod(
                phase="Failed",
                reason="UnexpectedAdmissionError",
                message="Pod was rejected: Allocate failed due to requested number of devices unavailable for "
                "nvidia.com/gpu. Requested: 1, Available: 0, which is unexpected",
            )
        ),
        Reason.POD_REJECTED,
        ('node "n1" does not take pod "ws-new-1"', "Available: 0", "device plugin", "cordon"),
    ),
    (
        "the node's labels do not match any more when the pod comes",
        observed(
            pod(
                phase="Failed",
                reason="NodeAffinity",
                message="Pod was rejected: Predicate NodeAffinity failed",
            )
        ),
        Reason.POD_REJECTED,
        ("Predicate NodeAffinity failed",),
    ),
    (
        "the pod's node does not answer",
        observed(pod(containerStatuses=[runs(started=True)]), nodes=(node(conditions={"Ready": "Unknown"}),)),
        Reason.NODE_LOST,
        ('node "n1"', "is not ready"),
    ),
    (
        "the pod's node is gone",
        observed(pod(containerStatuses=[runs(started=True)]), nodes=(node("n2"),)),
        Reason.NODE_LOST,
        ("does not exist any more",),
    ),
    (
        "the pod's node is short of memory",
        observed(pod(containerStatuses=[runs()]), nodes=(node(conditions={"MemoryPressure": "True"}),)),
        Reason.NODE_UNDER_PRESSURE,
        ("short of memory",),
    ),
    (
        "a pod that is to go first is on a node that does not answer",
        observed(leaving(), deployment=recreating(), nodes=(node(conditions={"Ready": "Unknown"}),)),
        Reason.NODE_LOST,
        (
            'node "n1" is not ready',
            "should have gone at 2026-01-01T09:50:00Z",
            "kubectl delete pod -n ns ws-old-1 --grace-period=0",
        ),
    ),
    (
        "a pod that is to go first does not end",
        observed(leaving(), deployment=recreating(), nodes=(node(),)),
        Reason.POD_STUCK,
        ('node "n1" does not end it', "a new one starts only then", "kubectl describe pod -n ns ws-old-1"),
    ),
    (
        "a pod that is to go first waits for a finalizer",
        observed(leaving(finalizers=["example.com/hold"]), deployment=recreating(), nodes=(node(),)),
        Reason.POD_STUCK,
        ("it waits for its finalizers example.com/hold",),
    ),
    (
        "somebody has paused the Deployment",
        observed(
            pod("ws-old-1", ready=True, stamp="old"),
            deployment=paused(ready=1, updatedReplicas=0),
            replica_sets=(replica_set("2", "old"),),
        ),
        Reason.ROLLOUT_PAUSED,
        ('Deployment "ws" is paused', "kubectl rollout resume deployment -n ns ws"),
    ),
    # --- on the way
    (
        "the image is being pulled",
        observed(
            pod(containerStatuses=[waits("ContainerCreating")]),
            events=events(event("Pulling", "Pulling image")),
        ),
        Reason.STARTING,
        ("its image is being pulled", 'node "n1"'),
    ),
    (
        "the server downloads, and says how far it is",
        observed(
            pod(containerStatuses=[runs()]),
            reports={"uid-ws-new-1": ServerReport("downloading", "", 6549825946, 15247212544, 180)},
        ),
        Reason.STARTING,
        ("downloading the weights: 42 %, 6.1 of 14.2 GiB, about 3 min left", "2 min of the 30 min"),
    ),
    (
        "the weights are being fetched, which what fetches them says",
        observed(
            fetching(runs(name="fetch-weights", started=True)),
            reports={"uid-ws-new-1": ServerReport("downloading", "", 6549825946, 15247212544, 180)},
        ),
        Reason.STARTING,
        ("downloading the weights: 42 %, 6.1 of 14.2 GiB, about 3 min left", "2 min so far"),
    ),
    (
        "the weights are being fetched, and nobody can be asked",
        observed(fetching(runs(name="fetch-weights", started=True))),
        Reason.STARTING,
        ("its weights are being fetched (2 min so far)",),
    ),
    (
        "the server cannot be asked, so that the startup probe's age has to do",
        observed(pod(containerStatuses=[runs()])),
        Reason.STARTING,
        ("its model is loading (2 min of the 30 min that it may take)",),
    ),
    (
        "the server served and does not answer now",
        observed(pod(containerStatuses=[{**runs(), "started": True}])),
        Reason.NOT_READY,
        ("readiness probe",),
    ),
    (
        "old pods run beside new ones that are ready",
        observed(
            pod(ready=True),
            pod("ws-old-1", ready=True, stamp="old"),
            deployment=deployment(ready=2, total=2)
            | {"status": {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1}},
            replica_sets=(replica_set(), replica_set("1", "old")),
        ),
        Reason.ROLLING_OUT,
        ("1 of 1 are of the current template", "1 old ones"),
    ),
]


@pytest.mark.parametrize(("seen", "reason", "words"), [pytest.param(*case[1:], id=case[0]) for case in CASES])
def test_the_cause_is_named_with_its_culprit_and_its_remedy(
    seen: Observed, reason: Reason, words: tuple[str, ...]
) -> None:
    found = diagnose(seen, NOW)
    assert found is not None
    assert found.reason is reason, found.message
    for word in words:
        assert word in found.message
    assert "\n" not in found.message
    assert len(found.message) <= 1024
    if reason not in UNDER_WAY:
        assert found.remedy
        assert found.culprit is not None
        assert found.culprit.name in found.message


def test_every_reason_of_a_pod_or_node_has_a_case() -> None:
    judged_elsewhere = {
        Reason.INVALID_WORKSPACE,
        Reason.UNKNOWN_PRESET,
        Reason.ACCESS_SECRET_REQUIRED,
        Reason.NOT_SUPPORTED,
        Reason.INVALID_CONFIG,
        Reason.DOES_NOT_FIT,
        Reason.NAME_CONFLICT,
        Reason.REFUSED_BY_CLUSTER,
        Reason.DEPLOYING,
        Reason.STOPPED,
    }
    assert {case[2] for case in CASES} == set(SEVERITY) - judged_elsewhere


@pytest.mark.parametrize("name", ["ws-new-{}", "pod ws-new-{}", "ws-new-{}/inference"])
def test_a_refusal_of_one_pod_after_the_other_is_one_cause(name: str) -> None:
    causes = {
        diagnose(cannot_create(f'admission webhook "w" denied the request: {name.format(end)} is bad'), NOW)
        for end in ("x7k2p", "b9zzq")
    }
    assert len(causes) == 1


def test_a_workspace_whose_replicas_all_serve_has_nothing_wrong() -> None:
    assert diagnose(observed(pod(ready=True), deployment=deployment(ready=1)), NOW) is None


def test_of_two_causes_the_one_nearer_the_root_is_told() -> None:
    pulling = pod("ws-new-2", containerStatuses=[waits("ErrImagePull", "not found")])
    crashing = pod("ws-new-1", containerStatuses=[crashed(1)])
    seen = observed(crashing, pulling, deployment=deployment(2, total=2))
    assert [one.reason for one in findings(seen, NOW)] == [
        Reason.IMAGE_NOT_FOUND,
        Reason.CRASH_LOOP,
        Reason.DEPLOYING,
    ]


def test_a_pod_of_an_earlier_template_is_not_to_blame() -> None:
    old = pod("ws-old-1", stamp="old", containerStatuses=[crashed(1)])
    new = pod(containerStatuses=[runs()])
    seen = observed(
        old, new, deployment=deployment(total=2), replica_sets=(replica_set(), replica_set("1", "old"))
    )
    found = diagnose(seen, NOW)
    assert found is not None
    assert found.reason is Reason.STARTING


def test_that_the_earlier_template_goes_on_serving_is_told_with_what_keeps_the_new_one_from_it() -> None:
    old = pod("ws-old-1", stamp="old", ready=True)
    seen = observed(
        old,
        pod(containerStatuses=[crashed(1)]),
        deployment=deployment(total=2, updatedReplicas=1),
        replica_sets=(replica_set(), replica_set("1", "old")),
    )
    found = diagnose(seen, NOW)
    assert found is not None
    assert found.reason is Reason.CRASH_LOOP
    assert "(1 pod of the earlier template goes on serving)" in found.message


@pytest.mark.parametrize("reason", ["Evicted", "Terminated", "UnexpectedAdmissionError", ""])
def test_a_pod_that_was_put_out_is_forgiven_once_another_has_taken_its_place(reason: str) -> None:
    gone = pod("ws-new-0", phase="Failed", reason=reason, message="low on disk")
    found = diagnose(observed(gone, pod(containerStatuses=[runs()])), NOW)
    assert found is not None
    assert found.reason is Reason.STARTING


def test_a_pod_that_ends_in_its_time_is_waited_for() -> None:
    found = diagnose(observed(leaving("2026-01-01T10:00:30Z"), deployment=recreating()), NOW)
    assert found is not None
    assert (found.reason, found.message) == (
        Reason.DEPLOYING,
        'pod "ws-old-1" is ending; a new one starts once it has gone',
    )


def test_a_pod_that_ends_late_beside_one_that_serves_keeps_nothing_up() -> None:
    live = {**recreating(), "status": deployment(ready=1)["status"]}
    assert diagnose(observed(leaving(), pod(ready=True), deployment=live), NOW) is None


def test_a_paused_deployment_whose_pods_crash_is_not_to_blame() -> None:
    found = diagnose(observed(pod(containerStatuses=[crashed(1)]), deployment=paused()), NOW)
    assert found is not None
    assert found.reason is Reason.CRASH_LOOP


LATER = "2026-01-02T10:00:00Z"


@pytest.mark.parametrize(
    "seen", [pytest.param(case[1], id=case[0]) for case in CASES if case[2] not in UNDER_WAY]
)
def test_what_stays_wrong_is_told_in_the_same_words_a_day_later(seen: Observed) -> None:
    def told(now: str) -> str:
        found = diagnose(seen, now)
        assert found is not None
        # What a container does that runs again is told with its time, as any start is.
        return re.sub(r"; now .+? \(.+?\)", "", found.message)

    assert told(NOW) == told(LATER)


def test_a_node_that_has_joined_a_moment_ago_is_not_taken_for_lost() -> None:
    found = diagnose(observed(pod(node="n9"), nodes=(node("n1"),)), NOW)
    assert found is not None
    assert found.reason is Reason.STARTING


def test_taints_by_design_do_not_hide_a_shortage_on_the_nodes_that_would_do() -> None:
    message = "0/3 nodes: 1 Insufficient nvidia.com/gpu, 2 node(s) had untolerated taint {control-plane: }."
    control = node("c1", gpus=0, taints=[{"key": "control-plane", "effect": "NoSchedule"}])
    found = diagnose(observed(pod(scheduler=message), nodes=(node(), control), gpu_pods=()), NOW)
    assert found is not None
    assert found.reason is Reason.NO_FREE_GPU


def test_foreign_text_of_any_length_leaves_room_for_the_remedy() -> None:
    found = diagnose(observed(pod(containerStatuses=[waits("ErrImagePull", "x" * 5000 + "\n" * 50)])), NOW)
    assert found is not None
    assert len(found.message) < 1024
    assert found.message.endswith(found.remedy)


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        pytest.param(observed(pod(scheduler=NO_GPU)), Reason.NO_FREE_GPU, id="no GPU is free"),
        pytest.param(observed(deployment=deployment(total=0)), Reason.DEPLOYING, id="no pod exists yet"),
        pytest.param(
            observed(unseen("2026-01-01T09:59:50Z")), Reason.DEPLOYING, id="a pod that was made a moment ago"
        ),
        pytest.param(
            observed(pod("ws-new-0", phase="Failed", reason="Evicted"), pod(scheduler=NO_GPU)),
            Reason.NO_FREE_GPU,
            id="the node of one that was put out is no other's",
        ),
        pytest.param(
            observed(pod(phase="Failed", reason="NodeAffinity")),
            Reason.POD_REJECTED,
            id="its node does not take it",
        ),
        pytest.param(
            observed(pod(containerStatuses=[crashed(1)])), None, id="a pod that crashes has its node"
        ),
    ],
)
def test_resources_are_lacking_only_where_a_pod_has_no_node(seen: Observed, reason: Reason | None) -> None:
    found: Finding | None = unplaced(seen, 1, NOW)
    assert (found.reason if found else None) is reason
