"""`berth plan FILE`: what a Workspace would become, and whether it fits, before anything is applied."""

import argparse
import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from berth_operator.api.names import KIND, VLLM_CONTAINER
from berth_operator.api.spec import Adapter
from berth_operator.api.workspace import InvalidWorkspace, Workspace, parse_workspace
from berth_operator.cli.connection import add_cluster_options, dumped
from berth_operator.cli.errors import CliError
from berth_operator.cli.terminal import BOLD, GREEN, RED, YELLOW, styled, table
from berth_operator.kube import KubeClient, KubeError, NoCluster, Object
from berth_operator.plan.fit import Fit
from berth_operator.plan.observed import Observed
from berth_operator.plan.reasons import Finding, Reason
from berth_operator.plan.server_config import ConfigMapData
from berth_operator.plan.workload import Workload, plan_workload
from berth_operator.presets import PresetError, load_presets
from berth_operator.settings import SettingsError, settings_from

CLUSTER_SECONDS = 5.0
"""How long to wait for a cluster whose nodes would make the judgement better."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `berth plan`."""
    parser = subparsers.add_parser(
        "plan",
        help="show what a Workspace would become, and whether it fits",
        description="Show what the Workspaces of a file would become: their manifests, what they need, whether they "
        "fit, and warnings. Nothing is applied. Exits with 1 if one would be refused. The cluster's nodes are asked "
        "where there is a cluster.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="a manifest; ConfigMaps in it are used, too")
    parser.add_argument(
        "-o", "--output", choices=("yaml", "json"), help="print the manifests, and the rest to stderr"
    )
    parser.add_argument("--offline", action="store_true", help="ask no cluster")
    add_cluster_options(parser)
    parser.set_defaults(run=run)


@dataclass(frozen=True, slots=True)
class _Planned:
    """One Workspace of the file, and what it would become."""

    name: str
    workspace: Workspace | None
    outcome: Workload | Finding


def run(arguments: argparse.Namespace) -> int:
    """Print the plan; return 1 if a Workspace would be refused."""
    from berth_local.manifests import ManifestError, read_manifests

    try:
        objects = read_manifests(arguments.file)
        catalogue, settings = load_presets(), settings_from(os.environ)
    except (ManifestError, PresetError, SettingsError) as error:
        raise CliError(str(error)) from None
    workspaces = [one for one in objects if one.get("kind") == KIND]
    if not workspaces:
        raise CliError(f"{arguments.file}: holds no Workspace")
    nodes = None if arguments.offline else asyncio.run(_nodes(arguments))
    observed = Observed(nodes=nodes)
    configs = {one["metadata"]["name"]: one.get("data") for one in objects if one.get("kind") == "ConfigMap"}

    def planned(raw: Object) -> _Planned:
        name = str(raw["metadata"]["name"])
        try:
            workspace = parse_workspace(raw)
        except InvalidWorkspace as error:
            return _Planned(name, None, Finding(Reason.INVALID_WORKSPACE, str(error)))
        config = _config(workspace, configs)
        return _Planned(name, workspace, plan_workload(workspace, catalogue, settings, config, observed))

    plans = [planned(raw) for raw in workspaces]
    if arguments.output:
        manifests: list[dict[str, Any]] = []
        for plan in plans:
            if isinstance(plan.outcome, Workload):
                manifests += [plan.outcome.deployment, plan.outcome.service]
                manifests += [plan.outcome.peers] if plan.outcome.peers else []
        print(dumped(manifests, arguments.output))
    stream = sys.stderr if arguments.output else sys.stdout
    for plan in plans:
        print(_described(plan, nodes is not None), file=stream)
    return int(any(isinstance(plan.outcome, Finding) for plan in plans))


async def _nodes(arguments: argparse.Namespace) -> tuple[Object, ...] | None:
    """The cluster's nodes; None where there is no cluster, or they may not be read."""
    from berth_operator.cluster_cache import NODES

    try:
        async with (
            asyncio.timeout(CLUSTER_SECONDS),
            await KubeClient.connect(arguments.kubeconfig, arguments.context) as client,
        ):
            return tuple(await client.list_all(NODES))
    except (NoCluster, KubeError, TimeoutError) as error:
        if arguments.kubeconfig or arguments.context:
            raise CliError(f"{error or 'the cluster does not answer'}; --offline asks none") from None
        return None


def _config(workspace: Workspace, configs: dict[str, Any]) -> ConfigMapData | None:
    """The ConfigMap that is named, if the file has it; else it is not judged, for it may be in the cluster."""
    name = workspace.inference.config if workspace.inference else None
    if name is None or name not in configs:
        return None
    data = configs[name]
    return ConfigMapData(name, data if isinstance(data, dict) else {})


def _described(plan: _Planned, with_nodes: bool) -> str:
    if isinstance(plan.outcome, Finding):
        head = styled(f"{plan.outcome.reason}", RED, BOLD)
        return f"Workspace {plan.name}: refused, {head}\n  {plan.outcome.message}\n"
    workload = plan.outcome
    spec = workload.deployment["spec"]
    pod = spec["template"]["spec"]
    container = pod["containers"][0]
    vllm = next((one for one in pod.get("initContainers") or [] if one["name"] == VLLM_CONTAINER), None)
    service = workload.service["spec"]
    replaced = (
        spec["strategy"]["type"] if workload.peers is None else "one copy of the model over all of them"
    )
    rows = [
        (workload.deployment["kind"], f"{spec['replicas']} x {container.get('image', '')}, {replaced}"),
        ("Service", f"{service['type']}, port {service['ports'][0]['port']}"),
        ("Each pod asks for", _asked(container)),
    ]
    if vllm is not None:
        rows += [("and for vLLM", f"{_asked(vllm)}, image {vllm['image']}")]
        rows += [("vLLM", " ".join(["vllm serve", *vllm["args"]]))]
    inference = plan.workspace.inference if plan.workspace else None
    rows += [("Adapter", _adapter(one)) for one in (inference.adapters if inference else ())]
    if workload.fit is not None:
        rows += _fit_rows(workload.fit, with_nodes)
    lines = [f"Workspace {styled(plan.name, BOLD)}", *(f"  {line}" for line in table(rows).splitlines())]
    lines += [f"  {styled('warning', YELLOW)}: {warning.message}" for warning in workload.warnings]
    if inference and inference.config:
        lines.append(
            f"  ConfigMap {inference.config} is judged if the file has it, and again by the operator"
        )
    return "\n".join(lines) + "\n"


def _asked(container: dict[str, Any]) -> str:
    asked = (container.get("resources") or {}).get("requests") or {}
    return ", ".join(f"{amount} {name}" for name, amount in asked.items()) or "nothing"


def _adapter(adapter: Adapter) -> str:
    source = adapter.source
    place = source.image or f"a {next(iter(source.volume_source or {}), '')} volume"
    return f"{source.name} at strength {adapter.strength} from {place}"


def _fit_rows(fit: Fit, with_nodes: bool) -> list[tuple[str, str]]:
    rows = [("GPU memory needed", f"{fit.arithmetic} on {fit.where}")]
    if fit.fits and fit.capacity is not None:
        each = "" if fit.nodes == 1 else f"{fit.nodes} of "
        rows.append(("Fit", styled(f"fits {each}{fit.capacity.name}: {fit.capacity.words}", GREEN)))
    elif fit.fits is False and fit.capacity is not None:
        rows.append(("Fit", styled(f"does not fit {fit.capacity.name}: {fit.capacity.words}", YELLOW)))
    else:
        why = (
            "no node or instance type with known GPUs"
            if with_nodes
            else "no instance type that is known, no nodes"
        )
        rows.append(("Fit", f"not judged: {why}"))
        if fit.suggestions:
            rows.append(("Smallest types", ", ".join(entry.name for entry in fit.suggestions)))
    return rows
