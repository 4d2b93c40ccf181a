"""Machine types with NVIDIA GPUs, and what those hold: for a cluster whose node is not there yet.

Figures are the clouds' own, GPU memory as they state it:

Azure    learn.microsoft.com/azure/virtual-machines/sizes/gpu-accelerated (NCasT4_v3, NVadsA10_v5, NC_A100_v4,
         NCadsH100_v5, NDasrA100_v4, NDm_A100_v4, ND-H100-v5, ND-H200-v5)
AWS      docs.aws.amazon.com/batch/latest/userguide/gpu-jobs.html (G4dn, G5, G6, P3),
         aws.amazon.com/ec2/instance-types/p4, /p5 and /g6e (P4d, P4de, P5; L40S of 48 GB, which is 44 GiB)
Google   cloud.google.com/compute/docs/accelerator-optimized-machines (G2, A2, A3)

A type that is not listed is not judged. Types with a part of a GPU are left out.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from berth_operator.quantity import GIB


@dataclass(frozen=True, slots=True)
class InstanceType:
    """A machine type: how many GPUs it has, and the memory of one, in GiB."""

    name: str
    cloud: str
    gpus: int
    gpu_gib: int
    product: str

    @property
    def gpu_bytes(self) -> int:
        """The memory of one GPU, in bytes."""
        return self.gpu_gib * GIB


def _rows(cloud: str, product: str, gpu_gib: int, sizes: dict[str, int]) -> Iterable[InstanceType]:
    return (InstanceType(name, cloud, gpus, gpu_gib, product) for name, gpus in sizes.items())


_ALL: Final = (
    *_rows(
        "azure",
        "T4",
        16,
        {
            "Standard_NC4as_T4_v3": 1,
            "Standard_NC8as_T4_v3": 1,
            "Standard_NC16as_T4_v3": 1,
            "Standard_NC64as_T4_v3": 4,
        },
    ),
    *_rows("azure", "A10", 24, {"Standard_NV36ads_A10_v5": 1, "Standard_NV72ads_A10_v5": 2}),
    *_rows(
        "azure",
        "A100 80GB",
        80,
        {
            "Standard_NC24ads_A100_v4": 1,
            "Standard_NC48ads_A100_v4": 2,
            "Standard_NC96ads_A100_v4": 4,
            "Standard_ND96amsr_A100_v4": 8,
        },
    ),
    *_rows("azure", "A100 40GB", 40, {"Standard_ND96asr_v4": 8}),
    *_rows("azure", "H100 NVL", 94, {"Standard_NC40ads_H100_v5": 1, "Standard_NC80adis_H100_v5": 2}),
    *_rows("azure", "H100", 80, {"Standard_ND96isr_H100_v5": 8}),
    *_rows("azure", "H200", 141, {"Standard_ND96isr_H200_v5": 8}),
    *_rows(
        "aws",
        "T4",
        16,
        {
            "g4dn.xlarge": 1,
            "g4dn.2xlarge": 1,
            "g4dn.4xlarge": 1,
            "g4dn.8xlarge": 1,
            "g4dn.16xlarge": 1,
            "g4dn.12xlarge": 4,
        },
    ),
    *_rows(
        "aws",
        "L4",
        24,
        {
            "g6.xlarge": 1,
            "g6.2xlarge": 1,
            "g6.4xlarge": 1,
            "g6.8xlarge": 1,
            "g6.16xlarge": 1,
            "g6.12xlarge": 4,
        }
        | {"g6.24xlarge": 4, "g6.48xlarge": 8},
    ),
    *_rows(
        "aws",
        "A10G",
        24,
        {
            "g5.xlarge": 1,
            "g5.2xlarge": 1,
            "g5.4xlarge": 1,
            "g5.8xlarge": 1,
            "g5.16xlarge": 1,
            "g5.12xlarge": 4,
        }
        | {"g5.24xlarge": 4, "g5.48xlarge": 8},
    ),
    *_rows("aws", "L40S", 44, {"g6e.xlarge": 1}),
    *_rows("aws", "V100", 16, {"p3.2xlarge": 1, "p3.8xlarge": 4, "p3.16xlarge": 8}),
    *_rows("aws", "A100 40GB", 40, {"p4d.24xlarge": 8}),
    *_rows("aws", "A100 80GB", 80, {"p4de.24xlarge": 8}),
    *_rows("aws", "H100", 80, {"p5.48xlarge": 8}),
    *_rows(
        "gcp",
        "L4",
        24,
        {
            "g2-standard-4": 1,
            "g2-standard-8": 1,
            "g2-standard-12": 1,
            "g2-standard-16": 1,
            "g2-standard-32": 1,
        }
        | {"g2-standard-24": 2, "g2-standard-48": 4, "g2-standard-96": 8},
    ),
    *_rows(
        "gcp",
        "A100 40GB",
        40,
        {
            "a2-highgpu-1g": 1,
            "a2-highgpu-2g": 2,
            "a2-highgpu-4g": 4,
            "a2-highgpu-8g": 8,
            "a2-megagpu-16g": 16,
        },
    ),
    *_rows(
        "gcp",
        "A100 80GB",
        80,
        {"a2-ultragpu-1g": 1, "a2-ultragpu-2g": 2, "a2-ultragpu-4g": 4, "a2-ultragpu-8g": 8},
    ),
    *_rows(
        "gcp",
        "H100",
        80,
        {"a3-highgpu-1g": 1, "a3-highgpu-2g": 2, "a3-highgpu-4g": 4, "a3-highgpu-8g": 8, "a3-megagpu-8g": 8},
    ),
    *_rows("gcp", "H200", 141, {"a3-ultragpu-8g": 8}),
)

INSTANCE_TYPES: Final = {entry.name.lower(): entry for entry in _ALL}
"""By name, in lower case: clouds write their types in one case, people in several."""

CLOUDS: Final = ("azure", "aws", "gcp")

PROVIDERS: Final = {"azure": "azure", "aws": "aws", "gce": "gcp"}
"""The scheme of a node's `spec.providerID`, `azure:///subscriptions/...`, and the cloud that sets it."""


def instance_type_of(name: str) -> InstanceType | None:
    """Return what is known of a machine type, None where nothing is."""
    return INSTANCE_TYPES.get(name.lower())


def smallest(need_bytes: int, gpus: int, cloud: str) -> InstanceType | None:
    """Return the smallest type of a cloud of which `gpus` GPUs hold `need_bytes`; None where none does.

    Smallest is the least GPU memory in all, then the fewest GPUs; of equals, the one that is listed first.
    """
    fitting = [
        entry
        for entry in INSTANCE_TYPES.values()
        if entry.cloud == cloud and entry.gpus >= gpus and gpus * entry.gpu_bytes >= need_bytes
    ]
    return min(fitting, key=lambda entry: (entry.gpus * entry.gpu_gib, entry.gpus), default=None)
