"""Products of linear layers in C: what torch computes, and the same for a row whatever else is in the batch."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from berth_inference.kernels import compile as compiler
from berth_inference.kernels import libgomp, library
from berth_inference.kernels.library import Unavailable
from berth_inference.kernels.products import fits, laid_out, product
from server.kernels import needs_kernels, threads

# Sizes (in, out): one block of columns, a number of blocks that no tile divides, more numbers than are read at once.
SIZES = [(2, 16), (24, 48), (66, 208), (770, 304)]
# Rows: every tile, two and three of them, and around the most whose states are spread at once.
ROWS = [*range(1, 28), 48, 200, 384, 385, 800]


def states_of(rows: int, inputs: int) -> torch.Tensor:
    return torch.randn(rows, inputs, generator=torch.Generator().manual_seed(rows)).bfloat16()


def weights_of(inputs: int, outputs: int) -> torch.Tensor:
    return torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(outputs)).bfloat16()


@needs_kernels
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("team", [1, 2, 3, 7])
def test_every_number_is_the_exact_sum_or_its_neighbour_in_bfloat16(size: tuple[int, int], team: int) -> None:
    weights = weights_of(*size)
    bias = torch.randn(size[1], generator=torch.Generator().manual_seed(1)).bfloat16()
    arranged = laid_out(weights)
    with threads(team):
        for rows in ROWS:
            states = states_of(rows, size[0])
            for added in (None, bias):
                exact = states.double() @ weights.double().T + (0 if added is None else added.double())
                # Half the distance between two neighbours, and what float32 sums of so many numbers of this size lose.
                allowed = exact.abs() * 2**-8 + 1e-5 * size[0] ** 0.5
                assert bool(((product(states, arranged, added).double() - exact).abs() <= allowed).all())


@needs_kernels
@pytest.mark.parametrize("size", SIZES)
def test_a_row_comes_to_the_same_bits_alone_and_in_any_batch(size: tuple[int, int]) -> None:
    arranged = laid_out(weights_of(*size))
    states = states_of(800, size[0])
    alone = torch.cat([product(row[None], arranged, None) for row in states])
    for rows in ROWS:
        assert torch.equal(product(states[:rows], arranged, None), alone[:rows])


@needs_kernels
def test_sums_that_are_exact_are_rounded_as_torch_rounds_them() -> None:
    # 1 + n/1024 is a number of float32; half of them lie between two of bfloat16, some in the middle.
    fractions = torch.arange(0, 4096, dtype=torch.float32) / 1024
    states = torch.tensor([[1.0, 1.0]], dtype=torch.bfloat16)
    coarse = fractions.bfloat16()
    weights = torch.stack([coarse, (fractions - coarse.float()).bfloat16()], dim=1)
    sums = weights.float().sum(dim=1)
    for sign in (1, -1):
        assert torch.equal(product(states * sign, laid_out(weights), None)[0], (sums * sign).bfloat16())


@needs_kernels
def test_what_is_no_number_stays_none_and_leaves_other_rows_alone() -> None:
    weights = weights_of(24, 48)
    states = states_of(20, 24)
    states[3, 5], states[4, 0], states[5, 0] = float("nan"), float("inf"), float("-inf")
    found = product(states, laid_out(weights), None)
    assert bool(found[3].isnan().all())
    assert torch.equal(found[4].sign(), weights[:, 0].sign())
    assert torch.equal(found[5].sign(), -weights[:, 0].sign())
    assert bool(found[6:].isfinite().all())
    assert torch.equal(found[:3], product(states[:3], laid_out(weights), None))


def test_which_sizes_fit() -> None:
    assert fits(768, 2048)
    assert fits(2, 16)
    assert not fits(3, 16)
    assert not fits(768, 1000)


@pytest.mark.parametrize("capability", ["AVX2", "AVX512"])
def test_without_the_library_the_reason_names_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capability: str
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(libgomp, "loaded", lambda: ctypes.CDLL(None))
    monkeypatch.setattr(library, "_FOLDER", tmp_path)
    reason = rf"libberth-{capability.lower()}\.so cannot be loaded: .*No such file"
    with pytest.raises(Unavailable, match=reason):
        library.load.__wrapped__()


def test_without_avx2_or_libgomp_nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    with pytest.raises(Unavailable, match="no AVX2"):
        library.load.__wrapped__()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(libgomp, "loaded", lambda: None)
    with pytest.raises(Unavailable, match="libgomp"):
        library.load.__wrapped__()


@pytest.mark.thorough
def test_what_does_not_compile_ends_with_the_compiler_s_words_and_its_exit_code(tmp_path: Path) -> None:
    source = Path(compiler.__file__)
    shutil.copy(source, tmp_path)
    (tmp_path / "broken.c").write_text("int broken(void) { return nothing; }\n")
    ended = subprocess.run([sys.executable, tmp_path / source.name], capture_output=True, text=True)
    assert ended.returncode == 1
    assert "undeclared identifier 'nothing'" in ended.stderr
