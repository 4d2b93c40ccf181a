"""Where a command's cluster is, and which namespace it means: as kubectl finds both."""

import argparse
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import yaml

from berth_operator.cli.errors import CliError
from berth_operator.kube import KubeClient, KubeError, NoCluster, Object, Resource


def add_cluster_options(parser: argparse.ArgumentParser) -> None:
    """Add the options by which kubectl is told where to look."""
    parser.add_argument(
        "-n", "--namespace", metavar="NAME", help="namespace (default: the context's, else default)"
    )
    parser.add_argument(
        "--kubeconfig", metavar="FILE", help="kubeconfig file (default: KUBECONFIG, ~/.kube/config)"
    )
    parser.add_argument(
        "--context", metavar="NAME", help="context of the kubeconfig (default: its current one)"
    )


@contextlib.asynccontextmanager
async def connected(arguments: argparse.Namespace) -> AsyncIterator[KubeClient]:
    """Connect to the cluster; what goes wrong there is one line."""
    try:
        async with await KubeClient.connect(arguments.kubeconfig, arguments.context) as client:
            yield client
    except (NoCluster, KubeError) as error:
        raise CliError(str(error)) from None


def namespace_of(arguments: argparse.Namespace) -> str:
    """Return the namespace that is meant."""
    if arguments.namespace:
        return str(arguments.namespace)
    from kubernetes.aio import config

    try:
        contexts, active = config.list_kube_config_contexts(arguments.kubeconfig)
    except (config.ConfigException, OSError, yaml.YAMLError, AttributeError, LookupError, TypeError):
        return "default"
    chosen = next((one for one in contexts if one.get("name") == arguments.context), active) or {}
    return str((chosen.get("context") or {}).get("namespace") or "default")


async def find(client: KubeClient, resource: Resource, namespace: str, name: str) -> Object:
    """Return an object that must be there."""
    found = await client.get(resource, namespace, name)
    if found is None:
        raise CliError(f'there is no {resource.plural.removesuffix("s")} "{name}" in namespace "{namespace}"')
    return found


def dumped(value: Any, form: str) -> str:
    """Return data as `yaml` or `json`; a list becomes several YAML documents, or a JSON List."""
    if form == "json":
        if isinstance(value, list):
            value = {"apiVersion": "v1", "kind": "List", "items": value}
        return json.dumps(value, indent=2, ensure_ascii=False)
    documents = value if isinstance(value, list) else [value]
    return yaml.safe_dump_all(
        documents, sort_keys=False, allow_unicode=True, explicit_start=len(documents) > 1
    ).rstrip()
