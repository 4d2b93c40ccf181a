"""vLLM over several nodes: what the pod of one node becomes so that a group of such pods holds one model.

All pods of the group are the same; each reads its rank from a label. In the first, vLLM answers the front as it does on
one node. In the others it runs without a server, and the front's container holds the front's place: such a pod is ready
when the first pod's front says that the model is.
"""

import copy
import functools
from importlib.resources import files as resources_of
from typing import Any, Final

from berth_operator.api.names import CONTAINER, LABEL_POD_INDEX, SERVER_PORT, VLLM_CONTAINER
from berth_operator.plan.container import PROBE_TIMEOUT_SECONDS, drain_seconds
from berth_operator.plan.group import GROUP_PORT, address_of_first
from berth_operator.plan.server_config import ServerConfig
from berth_operator.plan.vllm_container import PYTHON

MASTER_PORT: Final = 29501
"""vLLM's own default, where its processes meet. They open further ports as they need them."""

RANK: Final = {
    "name": "BERTH_NODE_RANK",
    "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{LABEL_POD_INDEX}']"}},
}
ADDRESS: Final = {"name": "VLLM_HOST_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}


def over_nodes(pod_spec: dict[str, Any], name: str, nodes: int, config: ServerConfig) -> dict[str, Any]:
    """Return the pod spec of a Workspace `name` for a group of so many pods: tensors are split within each of them,
    layers over them."""
    spec = copy.deepcopy(pod_spec)
    first = address_of_first(name)
    vllm = next(one for one in spec["initContainers"] if one["name"] == VLLM_CONTAINER)
    front = next(one for one in spec["containers"] if one["name"] == CONTAINER)
    vllm["command"] = [
        *(*PYTHON, _script("run_group.py"), str(nodes), first, str(GROUP_PORT)),
        *vllm["command"],
    ]
    # Last, because the last of two flags wins.
    vllm["args"] += [
        *("--distributed-executor-backend", "mp", "--pipeline-parallel-size", str(nodes)),
        *("--nnodes", str(nodes), "--node-rank", f"$({RANK['name']})"),
        *("--master-addr", first, "--master-port", str(MASTER_PORT)),
    ]
    vllm["env"] += [copy.deepcopy(RANK), dict(ADDRESS)]
    # Beside the first, whether vLLM runs is the first process' to know.
    for probe in ("startupProbe", "livenessProbe"):
        *python, ask = vllm[probe]["exec"]["command"]
        vllm[probe]["exec"]["command"] = [*python, f"{_ONLY_IN_THE_FIRST}{ask}"]
    port, drain = str(SERVER_PORT), str(drain_seconds(config))
    front["command"] = [*PYTHON, _script("run_group_front.py"), first, port, drain, *front["command"]]
    front["env"].append(copy.deepcopy(RANK))
    for probe, path in (
        ("startupProbe", "/health"),
        ("readinessProbe", "/health"),
        ("livenessProbe", "/livez"),
    ):
        only = _ONLY_IN_THE_FIRST if probe == "livenessProbe" else ""
        del front[probe]["httpGet"]
        front[probe]["exec"] = {"command": [*PYTHON, f"{only}{_ask_the_front(first, path)}"]}
    return spec


_ONLY_IN_THE_FIRST: Final = f"import os; os.environ['{RANK['name']}'] == '0' or os._exit(0); "


def _ask_the_front(first: str, path: str) -> str:
    return (
        "import http.client, sys; "
        f"c = http.client.HTTPConnection('{first}', {SERVER_PORT}, timeout={PROBE_TIMEOUT_SECONDS - 1}); "
        f"c.request('GET', '{path}'); sys.exit(c.getresponse().status != 200)"
    )


@functools.cache
def _script(name: str) -> str:
    return (resources_of("berth_operator") / "data" / name).read_text(encoding="utf-8")
