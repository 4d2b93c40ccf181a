"""The GPUs of a machine, and the memory of one of them: by a node's labels, or by its type."""

from dataclasses import dataclass

from berth_operator.plan import nodes
from berth_operator.plan.instance_types import instance_type_of
from berth_operator.plan.observed import Object, labels
from berth_operator.plan.placement import GPU_RESOURCE
from berth_operator.quantity import GIB, MIB

LABEL_GPU_MEMORY = "nvidia.com/gpu.memory"
"""The memory of one GPU in MiB; set by NVIDIA's GPU feature discovery, like the two that follow."""

LABEL_GPU_COUNT = "nvidia.com/gpu.count"
LABEL_GPU_PRODUCT = "nvidia.com/gpu.product"


@dataclass(frozen=True, slots=True)
class Capacity:
    """The GPUs of one machine: how many, and the memory of one in bytes."""

    name: str
    gpus: int
    gpu_bytes: int
    product: str = ""

    @property
    def words(self) -> str:
        """The GPUs for people: `1 x 24 GiB (A10)`."""
        size = self.gpu_bytes / GIB
        shown = f"{size:.0f}" if abs(size - round(size)) < 0.05 else f"{size:.1f}"
        return f"{self.gpus} x {shown} GiB" + (f" ({self.product})" if self.product else "")


def capacity_of(node: Object) -> Capacity | None:
    """Return a node's GPUs, by its labels, else by its instance type; None where neither tells."""
    own, name = labels(node), nodes.name_of(node)
    memory, count = own.get(LABEL_GPU_MEMORY, ""), own.get(LABEL_GPU_COUNT, "")
    # int() takes digits of every script, and so does isdigit.
    if memory.isascii() and memory.isdigit() and int(memory) > 0:
        offered = nodes.allocatable(node, GPU_RESOURCE)
        gpus = int(count) if count.isascii() and count.isdigit() else offered
        if gpus:
            return Capacity(name, gpus, int(memory) * MIB, own.get(LABEL_GPU_PRODUCT, ""))
    known = instance_type_of(nodes.instance_type(node))
    return None if known is None else Capacity(name, known.gpus, known.gpu_bytes, known.product)


def capacity_of_type(name: str) -> Capacity | None:
    """Return the GPUs of a machine type; None where it is not known."""
    known = instance_type_of(name)
    return None if known is None else Capacity(known.name, known.gpus, known.gpu_bytes, known.product)
