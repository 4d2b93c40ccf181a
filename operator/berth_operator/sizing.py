"""The memory that a model needs: computed from its architecture, never guessed. All figures are in bytes.

    weights    parameters x bytes of one parameter
    KV cache   2 (keys and values) x layers x KV heads x head size x bytes of one element, for each token
    overhead   what the runtime itself holds, and what one forward pass needs beside weights and cache

Sliding-window attention can hold less than the KV cache computed here; the figure is the bound for any model.
"""

from dataclasses import dataclass
from typing import Final, Literal, Protocol

from berth_operator.quantity import GIB

DType = Literal["float32", "bfloat16", "float16"]

BYTES: Final[dict[str, int]] = {"float32": 4, "bfloat16": 2, "float16": 2}

REFERENCE_CONTEXT: Final = 4096
"""Tokens that a preset's memory is sized for, unless its model's own context is shorter: one conversation."""

RUNTIME_OVERHEAD: Final = 1 * GIB
"""Held whatever the model: the CUDA context, kernels and library workspaces; on a CPU, Python and torch."""

WORKING_FRACTION: Final = 0.10
"""Of weights and cache: activations of the widest layer, and what the allocator cannot use between blocks."""

HOST_RUNTIME: Final = 4 * GIB
"""Host memory beside a GPU: Python, torch and the host's side of the CUDA libraries."""

SHARD: Final = 5 * GIB
"""The hub's limit for one file of weights. While loading, one is read as the one before it is copied."""


class Model(Protocol):
    """The numbers of a model's architecture that its memory follows from."""

    @property
    def parameters(self) -> int:
        """Parameters, in pieces."""

    @property
    def dtype(self) -> DType:
        """The type in which weights and cache are held."""

    @property
    def context_length(self) -> int:
        """The most tokens of one sequence."""

    @property
    def layers(self) -> int:
        """Transformer blocks."""

    @property
    def kv_heads(self) -> int:
        """Key and value heads of one layer."""

    @property
    def head_size(self) -> int:
        """Elements of one head."""


@dataclass(frozen=True)
class MemoryNeed:
    """What a model needs, in bytes."""

    weights: int
    kv_cache: int
    overhead: int

    @property
    def total(self) -> int:
        """All of it, in bytes."""
        return self.weights + self.kv_cache + self.overhead


def weights_bytes(parameters: int, dtype: DType) -> int:
    """Bytes of a model's weights."""
    return parameters * BYTES[dtype]


def kv_bytes_per_token(layers: int, kv_heads: int, head_size: int, dtype: DType) -> int:
    """Bytes of keys and values that one token of one sequence adds to the cache."""
    return 2 * layers * kv_heads * head_size * BYTES[dtype]


def required_memory(
    model: Model,
    context_tokens: int | None = None,
    sequences: int = 1,
    dtype: DType | None = None,
    nodes: int = 1,
) -> MemoryNeed:
    """The memory to serve `sequences` at once, each of `context_tokens`, on one device, or on so many nodes in all.

    `context_tokens` is `REFERENCE_CONTEXT` unless given; it is never more than the model's own context.
    `dtype` is the model's own unless given (a CPU may hold float32 where a GPU holds bfloat16).
    """
    dtype = dtype or model.dtype
    tokens = min(model.context_length, REFERENCE_CONTEXT if context_tokens is None else context_tokens)
    weights = weights_bytes(model.parameters, dtype)
    cache = sequences * tokens * kv_bytes_per_token(model.layers, model.kv_heads, model.head_size, dtype)
    overhead = nodes * RUNTIME_OVERHEAD + int((weights + cache) * WORKING_FRACTION)
    return MemoryNeed(weights, cache, overhead)


def required_host_memory(model: Model, on_gpu: bool) -> int:
    """The pod's own memory, in bytes: all of the model on a CPU; beside a GPU, what loading passes through."""
    if not on_gpu:
        return required_memory(model).total
    return HOST_RUNTIME + min(weights_bytes(model.parameters, model.dtype), 2 * SHARD)


def required_disk(model: Model) -> int:
    """The weights as downloaded, in bytes, and room for one shard that is being fetched anew."""
    return weights_bytes(model.parameters, model.dtype) + SHARD
