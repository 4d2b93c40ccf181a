"""`berth logs NAME`: what the servers of a Workspace print."""

import argparse
import asyncio
import sys

from berth_operator.api.names import CONTAINER, LABEL_WORKSPACE
from berth_operator.cli.connection import add_cluster_options, connected, find, namespace_of
from berth_operator.cli.errors import CliError
from berth_operator.cluster_cache import PODS, WORKSPACES
from berth_operator.kube import KubeClient, KubeError, NotFound, Object, Refused


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `berth logs`."""
    parser = subparsers.add_parser(
        "logs", help="print the servers' logs", description="Print what the servers of a Workspace print."
    )
    parser.add_argument("name", metavar="NAME", help="the Workspace")
    parser.add_argument("-f", "--follow", action="store_true", help="go on as more is printed")
    parser.add_argument(
        "-p", "--previous", action="store_true", help="of the container before the last restart"
    )
    parser.add_argument(
        "-c", "--container", metavar="NAME", help="another container, such as vllm (default: the server's)"
    )
    parser.add_argument("--tail", type=int, metavar="LINES", help="only the last lines of each pod")
    add_cluster_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print until the logs end, or until Ctrl-C with --follow."""
    return asyncio.run(_logs(arguments))


async def _logs(arguments: argparse.Namespace) -> int:
    namespace, name = namespace_of(arguments), arguments.name
    async with connected(arguments) as client:
        await find(client, WORKSPACES, namespace, name)
        pods = await client.list_all(PODS, namespace, f"{LABEL_WORKSPACE}={name}")
        if not pods:
            raise CliError(f'Workspace "{name}" has no pods; `berth explain {name}` says why')
        query = [("follow", "true")] if arguments.follow else []
        query += [("previous", "true")] if arguments.previous else []
        query += [("tailLines", str(arguments.tail))] if arguments.tail is not None else []
        having = {_name(pod): _container(pod, arguments.container) for pod in pods}
        chosen = sorted((pod for pod in pods if having[_name(pod)]), key=_name)
        if not chosen:
            every = ", ".join(sorted({name for pod in pods for name in _containers(pod)}))
            raise CliError(f'no pod has a container "{arguments.container[:60]}"; there are: {every}')
        without: dict[str, KubeError] = {}

        async def show(pod: Object) -> None:
            try:
                await _print(client, pod, [*query, ("container", having[_name(pod)])], len(chosen) > 1)
            except (Refused, NotFound) as error:
                # A pod that waits for its node or image has no log yet; the others' are wanted all the same.
                without[_name(pod)] = error

        if arguments.follow:
            await asyncio.gather(*map(show, chosen))
        else:
            for pod in chosen:
                await show(pod)
    if len(without) == len(chosen):
        name, error = next(iter(without.items()))
        more = f" (and {len(without) - 1} more pods without a log)" if len(without) > 1 else ""
        raise CliError(f'pod "{name}": {error}{more}')
    for name, error in without.items():
        print(f'pod "{name}": {error}', file=sys.stderr)
    return 0


async def _print(client: KubeClient, pod: Object, query: list[tuple[str, str]], with_name: bool) -> None:
    lead = f"{_name(pod)}: " if with_name else ""
    path = PODS.path(pod["metadata"]["namespace"], _name(pod), "log")
    async for line in client.lines(path, query):
        print(f"{lead}{line}", flush=True)


def _container(pod: Object, chosen: str | None) -> str:
    """The container of a pod whose log is meant; "" where it has none of that name."""
    if chosen is not None:
        return chosen if chosen in _containers(pod) else ""
    own = [str(one["name"]) for one in pod["spec"]["containers"]]
    return CONTAINER if CONTAINER in own else own[0]


def _containers(pod: Object) -> list[str]:
    spec = pod["spec"]
    return [str(one["name"]) for one in [*spec["containers"], *(spec.get("initContainers") or [])]]


def _name(pod: Object) -> str:
    return str(pod["metadata"]["name"])
