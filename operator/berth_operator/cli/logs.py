"""`berth logs NAME`: what the servers of a Workspace print."""

import argparse
import asyncio

from berth_operator.api.names import CONTAINER, LABEL_WORKSPACE
from berth_operator.cli.connection import add_cluster_options, connected, find, namespace_of
from berth_operator.cli.errors import CliError
from berth_operator.cluster_cache import PODS, WORKSPACES
from berth_operator.kube import KubeClient, Object


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
        prints = [
            _print(client, pod, query, arguments.container, len(pods) > 1) for pod in sorted(pods, key=_name)
        ]
        if arguments.follow:
            await asyncio.gather(*prints)
        else:
            for one in prints:
                await one
    return 0


async def _print(
    client: KubeClient, pod: Object, query: list[tuple[str, str]], chosen: str | None, with_name: bool
) -> None:
    containers = [one["name"] for one in pod["spec"]["containers"]]
    every = [*containers, *(one["name"] for one in pod["spec"].get("initContainers") or [])]
    if chosen is not None and chosen not in every:
        raise CliError(
            f'pod "{_name(pod)}" has no container "{chosen[:60]}"; there are: {", ".join(sorted(every))}'
        )
    container = chosen or (CONTAINER if CONTAINER in containers else containers[0])
    lead = f"{_name(pod)}: " if with_name else ""
    path = PODS.path(pod["metadata"]["namespace"], _name(pod), "log")
    async for line in client.lines(path, [*query, ("container", container)]):
        print(f"{lead}{line}", flush=True)


def _name(pod: Object) -> str:
    return str(pod["metadata"]["name"])
