"""How much memory there is, what running out of it looks like, and weights that are packed or left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from berth_inference.engine.batch import memory, packed_linear
from berth_inference.engine.batch.cgroup import left_by_limits
from berth_inference.engine.batch.memory import budget_cells, free_bytes, key_value_bytes
from berth_inference.engine.batch.packed_linear import PackedLinear
from berth_inference.engine.batch.packing import pack
from berth_inference.engine.out_of_memory import is_out_of_memory
from server.model_zoo import make_model

CPU = torch.device("cpu")
MIB = 2**20


def limited(folder: Path, limit: str, used_mib: int = 0, cached_mib: int = 0, *, version: int = 2) -> None:
    """A control group as the kernel shows it."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {1: ("memory.limit_in_bytes", "memory.usage_in_bytes"), 2: ("memory.max", "memory.current")}
    (folder / names[version][0]).write_text(f"{limit}\n")
    (folder / names[version][1]).write_text(f"{used_mib * MIB}\n")
    prefix = "total_" if version == 1 else ""
    (folder / "memory.stat").write_text(
        f"cache 7\n{prefix}inactive_file {cached_mib * MIB}\n{prefix}active_file 0\n"
    )


GROUPS: dict[str, tuple[str, list[tuple[str, dict[str, Any]]], int | None]] = {
    "no groups at all": ("", [], None),
    "a container without a limit": ("0::/", [(".", {"limit": "max"})], None),
    "what a limit leaves": ("0::/", [(".", {"limit": str(300 * MIB), "used_mib": 100})], 200),
    "cached files can be given up": (
        "0::/",
        [(".", {"limit": str(300 * MIB), "used_mib": 250, "cached_mib": 150})],
        200,
    ),
    "never less than nothing": ("0::/", [(".", {"limit": str(MIB), "used_mib": 9})], 0),
    "a group within a group: the tighter of both": (
        "0::/pod/container",
        [
            ("pod/container", {"limit": str(900 * MIB), "used_mib": 100}),
            ("pod", {"limit": str(500 * MIB), "used_mib": 450}),
        ],
        50,
    ),
    "the path of the host, where only the container's own group is seen": (
        "0::/kubepods/pod/container",
        [(".", {"limit": str(300 * MIB), "used_mib": 100})],
        200,
    ),
    "a path outside of what is seen": (
        "0::/../other",
        [(".", {"limit": str(300 * MIB), "used_mib": 100})],
        200,
    ),
    "version 1": (
        "4:cpu,memory:/x\n0::/",
        [("memory/x", {"version": 1, "limit": str(300 * MIB), "used_mib": 250, "cached_mib": 50})],
        100,
    ),
    "version 1 without a limit": (
        "4:memory:/",
        [("memory", {"version": 1, "limit": "9223372036854771712", "used_mib": 9})],
        None,
    ),
    "version 1, a group within a group": (
        "4:memory:/pod/container",
        [
            ("memory/pod/container", {"version": 1, "limit": "9223372036854771712"}),
            ("memory/pod", {"version": 1, "limit": str(80 * MIB), "used_mib": 20}),
        ],
        60,
    ),
    "a file that holds no number": ("0::/", [(".", {"limit": "much"})], None),
}


@pytest.mark.parametrize(("own", "groups", "left_mib"), GROUPS.values(), ids=GROUPS.keys())
def test_what_limits_leave(
    tmp_path: Path, own: str, groups: list[tuple[str, dict[str, Any]]], left_mib: int | None
) -> None:
    (tmp_path / "self").write_text(own)
    root = tmp_path / "cgroup"
    for path, values in groups:
        limited(root / path, **values)
    assert left_by_limits(root, tmp_path / "self") == (None if left_mib is None else left_mib * MIB)


@pytest.mark.parametrize(
    ("allowed", "free_mib"),
    [
        pytest.param(None, 500, id="no limit: what the machine has"),
        pytest.param(200 * MIB, 200, id="a limit"),
        pytest.param(900 * MIB, 500, id="a machine that has less than the limit"),
    ],
)
def test_free_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: int | None, free_mib: int
) -> None:
    monkeypatch.setattr(memory, "left_by_limits", lambda: allowed)
    (tmp_path / "meminfo").write_text("MemTotal: 999 kB\nMemAvailable: 512000 kB\n")
    assert free_bytes(CPU, tmp_path / "meminfo") == free_mib * MIB


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(MemoryError(), True, id="Python's"),
        pytest.param(torch.OutOfMemoryError("CUDA"), True, id="a device's"),
        pytest.param(
            RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), True, id="torch's on a CPU"
        ),
        pytest.param(RuntimeError("shapes"), False, id="something else"),
    ],
)
def test_running_out_of_memory_is_recognised(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_a_tokens_keys_and_values_are_counted_over_all_layers() -> None:
    # 2 layers, keys and values, 2 heads of 8 numbers of 4 bytes.
    assert key_value_bytes(make_model("llama")) == 2 * 2 * 2 * 8 * 4
    assert budget_cells(make_model("llama"), 2560) == 10


def test_packed_weights_compute_what_they_did() -> None:
    plain, packed = make_model("llama"), make_model("llama")
    assert pack(packed) == sum(type(layer) is torch.nn.Linear for layer in plain.modules())
    ids = torch.arange(20)[None]
    with torch.inference_mode():
        assert torch.allclose(plain(ids).logits, packed(ids).logits, atol=1e-4)


def test_weights_stay_as_they_are_where_packing_changes_what_they_compute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def wrong(self: PackedLinear, states: torch.Tensor) -> torch.Tensor:
        return states.new_zeros(*states.shape[:-1], self.out_features)

    monkeypatch.setattr(packed_linear.PackedLinear, "forward", wrong)
    model = make_model("llama")
    assert pack(model) == 0
    assert not any(isinstance(layer, PackedLinear) for layer in model.modules())
    assert "slower" in caplog.text
