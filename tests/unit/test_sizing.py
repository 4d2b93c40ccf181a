"""A model's memory follows from its architecture."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from berth_operator.quantity import GIB
from berth_operator.sizing import (
    DType,
    kv_bytes_per_token,
    required_disk,
    required_host_memory,
    required_memory,
    weights_bytes,
)


@dataclass(frozen=True)
class Shape:
    """Phi-3 Mini's numbers."""

    parameters: int = 3_821_079_552
    dtype: DType = "bfloat16"
    context_length: int = 131_072
    layers: int = 32
    kv_heads: int = 32
    head_size: int = 96


PHI = Shape()


@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("bfloat16", 2), ("float16", 2)])
def test_weights_are_parameters_times_the_size_of_one(dtype: DType, size: int) -> None:
    assert weights_bytes(1000, dtype) == 1000 * size


@pytest.mark.parametrize(
    ("layers", "kv_heads", "head_size", "published"),
    [(32, 8, 128, 131_072), (32, 32, 96, 393_216), (40, 10, 128, 204_800)],
    ids=["Mistral 7B", "Phi-3 Mini", "Phi-3 Medium"],
)
def test_a_token_of_cache_takes_what_kaito_publishes_for_the_model(
    layers: int, kv_heads: int, head_size: int, published: int
) -> None:
    assert kv_bytes_per_token(layers, kv_heads, head_size, "bfloat16") == published


def test_the_need_is_weights_and_cache_and_a_tenth_of_both_and_the_runtime() -> None:
    need = required_memory(PHI, context_tokens=4096)
    assert need.weights == 7_642_159_104
    assert need.kv_cache == 4096 * 393_216
    assert need.overhead == GIB + (need.weights + need.kv_cache) // 10
    assert need.total == need.weights + need.kv_cache + need.overhead


def test_the_reference_is_one_conversation_of_4096_tokens() -> None:
    assert required_memory(PHI) == required_memory(PHI, context_tokens=4096, sequences=1)


def test_no_sequence_is_longer_than_the_model_s_context() -> None:
    short = replace(PHI, context_length=2048)
    assert required_memory(short, context_tokens=1_000_000) == required_memory(short, context_tokens=2048)


def test_each_sequence_has_a_cache_of_its_own() -> None:
    assert required_memory(PHI, 1024, sequences=8).kv_cache == 8 * required_memory(PHI, 1024).kv_cache


def test_another_type_changes_weights_and_cache_alike() -> None:
    single, half = required_memory(PHI, dtype="float32"), required_memory(PHI)
    assert (single.weights, single.kv_cache) == (2 * half.weights, 2 * half.kv_cache)


def test_on_a_cpu_the_pod_holds_the_whole_model() -> None:
    assert required_host_memory(PHI, on_gpu=False) == required_memory(PHI).total


def test_beside_a_gpu_the_pod_holds_what_passes_through_it() -> None:
    assert required_host_memory(PHI, on_gpu=True) == 4 * GIB + 7_642_159_104
    assert required_host_memory(replace(PHI, parameters=10**11), on_gpu=True) == 14 * GIB


def test_the_disk_holds_the_weights_and_a_shard_that_is_fetched_anew() -> None:
    assert required_disk(PHI) == 7_642_159_104 + 5 * GIB
