"""The Deployment that serves a Workspace's model, from a preset or from the user's own pod template."""

import copy
from typing import Any

from berth_operator.api.names import (
    ANNOTATION_ROLLOUT,
    LABEL_WORKSPACE,
    ROLLOUT_RECREATE,
    RUNTIME_TRANSFORMERS,
    RUNTIME_VLLM,
)
from berth_operator.api.spec import PresetRef
from berth_operator.api.weights import WeightsVolume
from berth_operator.api.workspace import Workspace
from berth_operator.plan import adapters, api_keys, vllm_container, weights
from berth_operator.plan.container import (
    END_SECONDS,
    SCRATCH_VOLUMES,
    drain_seconds,
    render_container,
    render_fetch_container,
)
from berth_operator.plan.differences import digest
from berth_operator.plan.metadata import ANNOTATION_RENDERED, child_metadata, labels
from berth_operator.plan.placement import GPU_TOLERATIONS, with_node_affinity
from berth_operator.plan.replicas import scales_itself
from berth_operator.plan.server_config import ServerConfig
from berth_operator.presets import Preset
from berth_operator.settings import Settings

ANNOTATION_CONFIG = "berth.dev/config-digest"
"""On a template's pods: the digest of the ConfigMap that `inference.config` names, so that its changes roll them."""

TEMPLATE_READINESS_SECONDS = 1800
"""A template does not say how long its server may take; half an hour is what presets of 7 to 14 billion
parameters are given."""

PROGRESS_MARGIN_SECONDS = 600
"""Scheduling and pulling an image of some gigabytes come on top of the server's own start."""

REVISION_HISTORY = 3
"""Enough to go back by hand; each is an empty ReplicaSet."""


def preset_pod_spec(
    workspace: Workspace,
    reference: PresetRef,
    preset: Preset,
    settings: Settings,
    config: ServerConfig,
    where: WeightsVolume,
    *,
    on_gpu: bool,
    runtime: str = RUNTIME_TRANSFORMERS,
) -> dict[str, Any]:
    """Return the pod spec that serves a preset: restricted, without a service account token."""
    name = workspace.metadata.name
    keys = api_keys.api_key_secret(workspace)
    merged = workspace.inference.adapters if workspace.inference is not None else []
    with_vllm = runtime == RUNTIME_VLLM
    container = (
        vllm_container.render_front(name, preset, reference, settings, config, api_key_secret=keys)
        if with_vllm
        else render_container(
            name,
            preset,
            reference,
            settings,
            config,
            where,
            api_key_secret=keys,
            merged=merged,
            on_gpu=on_gpu,
        )
    )
    secrets = (
        *reference.preset_options.image_pull_secrets,
        *adapters.image_pull_secrets(merged),
        *settings.image_pull_secrets,
    )
    spec: dict[str, Any] = {
        "containers": [container],
        "volumes": [
            weights.volume(where, preset, reference, settings),
            *copy.deepcopy(list(SCRATCH_VOLUMES)),
            *copy.deepcopy(adapters.volumes(merged)),
        ],
        "terminationGracePeriodSeconds": drain_seconds(config) + END_SECONDS,
        "automountServiceAccountToken": False,
        # A Service called "berth" would otherwise put BERTH_PORT=tcp://... into the server's environment.
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
            **weights.ownership(where, settings),
        },
    }
    # Adapters first: they are small, and what is wrong with them is told before weights are fetched.
    before = adapters.init_containers(merged)
    if weights.is_fetched(preset, reference):
        before.append(
            render_fetch_container(preset, reference, settings, where, container["image"], on_gpu=on_gpu)
        )
    if with_vllm:
        before.append(vllm_container.render_vllm(name, preset, settings, config, where))
        spec["volumes"] += copy.deepcopy(list(vllm_container.VOLUMES))
        spec["terminationGracePeriodSeconds"] += vllm_container.END_SECONDS
    if before:
        spec["initContainers"] = before
    if keys:
        spec["volumes"].append(api_keys.volume(keys))
    if secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in dict.fromkeys(secrets)]
    if on_gpu:
        spec["tolerations"] = [dict(toleration) for toleration in GPU_TOLERATIONS]
    return spec


def template_pod(template: dict[str, Any], config: ServerConfig) -> dict[str, Any]:
    """Return a copy of the user's pod template, whose tolerations gain the usual GPU ones.

    A ConfigMap that the Workspace names is the template's own to mount; its content rolls the pods.
    """
    pod = copy.deepcopy(template)
    if config.content:
        metadata = pod.get("metadata") or {}
        annotations = {**(metadata.get("annotations") or {}), ANNOTATION_CONFIG: config.content}
        pod["metadata"] = {**metadata, "annotations": annotations}
    spec = pod.setdefault("spec", {})
    own = spec.get("tolerations") or []
    spec["tolerations"] = [*own, *(dict(extra) for extra in GPU_TOLERATIONS if extra not in own)]
    return pod


def render_deployment(workspace: Workspace, pod: dict[str, Any], readiness_seconds: int) -> dict[str, Any]:
    """Return the Deployment that runs `resource.count` pods of the given pod template."""
    metadata = dict(pod.get("metadata") or {})
    # A pod's name and namespace come from its ReplicaSet; the API server refuses them in a template.
    kept = {key: metadata[key] for key in ("annotations", "finalizers") if metadata.get(key)}
    template = {
        "metadata": {**kept, "labels": {**(metadata.get("labels") or {}), **labels(workspace)}},
        "spec": with_node_affinity(pod["spec"], workspace.resource),
    }
    deployment: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": child_metadata(workspace),
        "spec": {
            "replicas": workspace.resource.count,
            "selector": {"matchLabels": {LABEL_WORKSPACE: workspace.metadata.name}},
            "strategy": _strategy(workspace),
            "progressDeadlineSeconds": readiness_seconds + PROGRESS_MARGIN_SECONDS,
            "revisionHistoryLimit": REVISION_HISTORY,
            "template": template,
        },
    }
    meant = dict(deployment["spec"])
    if scales_itself(workspace):
        # Scaling is not ours to mean: a change of it must not look like a change of ours.
        del meant["replicas"]
    rendered = {ANNOTATION_RENDERED: digest(meant)}
    return {**deployment, "metadata": {**deployment["metadata"], "annotations": rendered}}


def _strategy(workspace: Workspace) -> dict[str, Any]:
    if workspace.metadata.annotations.get(ANNOTATION_ROLLOUT) == ROLLOUT_RECREATE:
        return {"type": "Recreate"}
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
