"""`berth explain NAME`: a Workspace as a tree, from itself down to the node, with the first cause marked."""

import argparse
import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime

from berth_operator.api.names import LABEL_WORKSPACE
from berth_operator.cli.connection import add_cluster_options, connected, find, namespace_of
from berth_operator.cli.terminal import BOLD, DIM, GREEN, RED, YELLOW, styled
from berth_operator.cluster_cache import (
    DEPLOYMENTS,
    NODES,
    PODS,
    REPLICA_SETS,
    SERVICES,
    STATEFUL_SETS,
    WORKSPACES,
    ClusterCache,
)
from berth_operator.kube import KubeClient, KubeError, Object, Refused, Resource
from berth_operator.observe.on_demand import OnDemand
from berth_operator.plan.explanations import EXPLANATIONS
from berth_operator.plan.observed import Observed
from berth_operator.plan.reasons import UNDER_WAY
from berth_operator.plan.tree import Branch, Explanation, explain

LOOK_AT_THE_OPERATOR = (
    "see that it runs (kubectl get deploy,pods -A -l app.kubernetes.io/name=berth) and watches this namespace"
)


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `berth explain`."""
    parser = subparsers.add_parser(
        "explain",
        help="say why a Workspace does not serve",
        description="Show a Workspace as a tree, from itself down to the node, with the first cause marked and what to "
        "do about it. Exits with 1 if something is wrong.",
    )
    parser.add_argument("name", metavar="NAME", help="the Workspace")
    add_cluster_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the tree; return 1 if something is wrong."""
    explanation = asyncio.run(_explain(arguments))
    print("\n".join(_drawn(explanation.tree)))
    cause, unseen = explanation.cause, explanation.unseen
    if unseen:
        print(f"\n{styled('Note', YELLOW, BOLD)}   {unseen}; {LOOK_AT_THE_OPERATOR}")
    if cause is None and unseen:
        return 1
    if cause is None:
        print(f"\n{styled('Nothing is wrong.', GREEN)}")
        return 0
    calm = cause.reason in UNDER_WAY
    print(
        f"\n{styled('Now' if calm else 'Cause', YELLOW if calm else RED, BOLD)}  {cause.reason}: {cause.message}"
    )
    if not calm:
        print(f"{styled('Fix', BOLD)}    {EXPLANATIONS[cause.reason].fix}")
    return 0 if calm and not unseen else 1


async def _explain(arguments: argparse.Namespace) -> Explanation:
    namespace, name = namespace_of(arguments), arguments.name
    async with connected(arguments) as client:
        workspace = await find(client, WORKSPACES, namespace, name)
        return explain(workspace, await observe(client, namespace, name), datetime.now(UTC).isoformat())


async def observe(client: KubeClient, namespace: str, name: str) -> Observed:
    """Return everything that concerns one Workspace; what may not be read is left out."""
    selector = f"{LABEL_WORKSPACE}={name}"

    async def listed(resource: Resource, within: str | None, chosen: str = "") -> tuple[Object, ...] | None:
        try:
            return tuple(await client.list_all(resource, within, chosen))
        except Refused:
            return None

    deployment, group, service, pods, sets, nodes = await asyncio.gather(
        _or_none(client, DEPLOYMENTS, namespace, name),
        _or_none(client, STATEFUL_SETS, namespace, name),
        _or_none(client, SERVICES, namespace, name),
        listed(PODS, namespace, selector),
        listed(REPLICA_SETS, namespace, selector),
        listed(NODES, None),
    )
    observed = Observed(deployment, service, pods or (), sets or (), nodes, stateful_set=group)
    return await OnDemand(client, ClusterCache()).complete(observed)


async def _or_none(client: KubeClient, resource: Resource, namespace: str, name: str) -> Object | None:
    try:
        return await client.get(resource, namespace, name)
    except KubeError as error:
        if isinstance(error, Refused):
            return None
        raise


def _drawn(branch: Branch, lead: str = "", stem: str = "") -> Iterator[str]:
    mark = styled("  <-- first cause", RED, BOLD) if branch.is_cause else ""
    wrong = f"  {_reason(branch)}" if branch.finding is not None else ""
    yield f"{lead}{styled(branch.kind, BOLD)} {branch.name}  {styled(branch.state, DIM)}{wrong}{mark}"
    for number, child in enumerate(branch.children, 1):
        last = number == len(branch.children)
        yield from _drawn(child, f"{stem}{'└─ ' if last else '├─ '}", f"{stem}{'   ' if last else '│  '}")


def _reason(branch: Branch) -> str:
    assert branch.finding is not None  # noqa: S101 - asked by the caller
    colour = YELLOW if branch.finding.reason in UNDER_WAY else RED
    return styled(str(branch.finding.reason), colour)
