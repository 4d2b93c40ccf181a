"""How much memory there is, what running out of it looks like, and weights that are packed or left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from berth_inference.engine.batch import packed_linear
from berth_inference.engine.batch.memory import budget_cells, free_bytes, is_out_of_memory, key_value_bytes
from berth_inference.engine.batch.packed_linear import PackedLinear, pack
from server.model_zoo import make_model

CPU = torch.device("cpu")
MIB = 2**20


def machine(
    folder: Path, available_mib: int, limit: str | None = None, used_mib: int = 0, cached_mib: int = 0
) -> None:
    (folder / "meminfo").write_text(f"MemTotal: 999 kB\nMemAvailable: {available_mib * 1024} kB\n")
    if limit is not None:
        (folder / "memory.max").write_text(limit)
        (folder / "memory.current").write_text(str(used_mib * MIB))
        (folder / "memory.stat").write_text(f"inactive_file {cached_mib * MIB}\nactive_file 0\n")


@pytest.mark.parametrize(
    ("arguments", "free_mib"),
    [
        pytest.param({"available_mib": 500}, 500, id="no container: what the machine has"),
        pytest.param({"available_mib": 500, "limit": "max"}, 500, id="a container without a limit"),
        pytest.param(
            {"available_mib": 500, "limit": str(300 * MIB), "used_mib": 100}, 200, id="what a limit leaves"
        ),
        pytest.param(
            {"available_mib": 500, "limit": str(300 * MIB), "used_mib": 250, "cached_mib": 150},
            200,
            id="cached files can be given up",
        ),
        pytest.param(
            {"available_mib": 50, "limit": str(300 * MIB)}, 50, id="a machine that has less than the limit"
        ),
        pytest.param(
            {"available_mib": 500, "limit": str(MIB), "used_mib": 9}, 0, id="never less than nothing"
        ),
    ],
)
def test_free_memory(tmp_path: Path, arguments: dict[str, object], free_mib: int) -> None:
    machine(tmp_path, **arguments)  # type: ignore[arg-type]
    assert free_bytes(CPU, tmp_path, tmp_path / "meminfo") == free_mib * MIB


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
