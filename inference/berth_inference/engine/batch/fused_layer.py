"""A decoder layer in fewer operations than transformers', for the families whose layers differ in little.

Queries, keys and values come from one product, both halves of a gated MLP from another, and
positions are rotated for queries and keys at once. Attention itself stays the function that
transformers would call, and so does the cache, so that every caller of the model is served.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from berth_inference.engine.batch.joined_linear import JoinedLinear


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What a family calls the parts of its layers. A norm that it does not have is None."""

    queries_keys_values: tuple[str, ...] = ("q_proj", "k_proj", "v_proj")
    gate_up: tuple[str, ...] = ("gate_proj", "up_proj")
    activation: str = "act_fn"
    before_attention: str = "input_layernorm"
    after_attention: str | None = None
    before_mlp: str = "post_attention_layernorm"
    after_mlp: str | None = None
    head_norms: tuple[str, ...] = ()
    dropouts: tuple[str, ...] = ()

    @property
    def layer_parts(self) -> set[str]:
        """Names of all that a layer consists of."""
        norms = {self.before_attention, self.after_attention, self.before_mlp, self.after_mlp}
        return {"self_attn", "mlp", *self.dropouts, *(name for name in norms if name is not None)}

    @property
    def attention_parts(self) -> set[str]:
        """Names of all that an attention consists of."""
        return {*self.queries_keys_values, "o_proj", *self.head_norms}

    @property
    def mlp_parts(self) -> set[str]:
        """Names of all that an MLP consists of."""
        return {*self.gate_up, "down_proj", self.activation}


_LLAMA = Family()
_MODELS = "transformers.models"
# By the class of a layer: a class of the same name from anywhere else may compute something else.
FAMILIES = {
    f"{_MODELS}.llama.modeling_llama.LlamaDecoderLayer": _LLAMA,
    f"{_MODELS}.mistral.modeling_mistral.MistralDecoderLayer": _LLAMA,
    f"{_MODELS}.qwen2.modeling_qwen2.Qwen2DecoderLayer": _LLAMA,
    f"{_MODELS}.qwen3.modeling_qwen3.Qwen3DecoderLayer": replace(_LLAMA, head_norms=("q_norm", "k_norm")),
    f"{_MODELS}.phi3.modeling_phi3.Phi3DecoderLayer": Family(
        queries_keys_values=("qkv_proj",),
        gate_up=("gate_up_proj",),
        activation="activation_fn",
        dropouts=("resid_attn_dropout", "resid_mlp_dropout"),
    ),
    f"{_MODELS}.gemma.modeling_gemma.GemmaDecoderLayer": _LLAMA,
    f"{_MODELS}.gemma2.modeling_gemma2.Gemma2DecoderLayer": Family(
        after_attention="post_attention_layernorm",
        before_mlp="pre_feedforward_layernorm",
        after_mlp="post_feedforward_layernorm",
    ),
}


class FusedLayer(torch.nn.Module):
    """Takes the place of a decoder layer of `family`, whose weights it shares.

    `attend` is the attention function of transformers, which reads some attributes of its caller. Of the tokens of a
    prompt, the `last` layer computes keys and values for all, and the rest for the newest one.
    """

    def __init__(self, layer: Any, family: Family, attend: Any, *, last: bool) -> None:
        super().__init__()
        self._last = last
        attention, mlp = layer.self_attn, layer.mlp
        self.layer_idx = attention.layer_idx
        self.num_key_value_groups = attention.num_key_value_groups
        self.is_causal = attention.is_causal
        self._attend = attend
        self._options: dict[str, Any] = {"scaling": attention.scaling, "dropout": 0.0}
        softcap = getattr(attention, "attn_logit_softcapping", None)
        if softcap is not None:
            self._options["softcap"] = softcap
        self.qkv = _joined(attention, family.queries_keys_values)
        self.output = attention.o_proj
        self._size = attention.head_dim
        self._heads = attention.o_proj.in_features // self._size
        self._kv_heads = self._heads // self.num_key_value_groups
        self.gate_up = _joined(mlp, family.gate_up)
        self.down = mlp.down_proj
        self.activation = getattr(mlp, family.activation)
        self.before_attention = self._norm(getattr(layer, family.before_attention))
        self.after_attention = self._optional_norm(layer, family.after_attention)
        self.before_mlp = self._norm(getattr(layer, family.before_mlp))
        self.after_mlp = self._optional_norm(layer, family.after_mlp)
        self._head_epsilon = 0.0
        self._head_scales: torch.Tensor | None = None
        if family.head_norms:
            queries, keys = (getattr(attention, name) for name in family.head_norms)
            self._head_epsilon = queries.variance_epsilon
            scales = [queries.weight.expand(self._heads, -1), keys.weight.expand(self._kv_heads, -1)]
            self._head_scales = torch.cat(scales).detach()
        self.eval()

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_embeddings: Any = None,
        past_key_values: Any = None,
        **_: Any,
    ) -> torch.Tensor:
        """(rows, tokens, hidden) to the same, or to (rows, 1, hidden).

        `position_embeddings` are those that `rotations` makes.
        """
        rows, tokens, _hidden = hidden_states.shape
        heads, turned = self._heads, self._heads + self._kv_heads
        parts = self.qkv(self.before_attention(hidden_states)).view(rows, tokens, -1, self._size)
        rotated = self._rotated(parts[:, :, :turned], position_embeddings).transpose(1, 2)
        queries, keys = rotated[:, :heads], rotated[:, heads:]
        values = parts[:, :, turned:].transpose(1, 2)
        if past_key_values is not None:
            keys, values = past_key_values.update(keys, values, self.layer_idx)
            if self._last and getattr(past_key_values, "newest_only", False):
                hidden_states, queries, tokens = hidden_states[:, -1:], queries[:, :, -1:], 1
                attention_mask = None if attention_mask is None else attention_mask[..., -1:, :]
        attended = self._attended(queries, keys, values, attention_mask)
        attended = self.output(attended.reshape(rows, tokens, heads * self._size))
        if self.after_attention is not None:
            attended = self.after_attention(attended)
        between = hidden_states + attended
        computed: torch.Tensor = self.down(self._gated(self.gate_up(self.before_mlp(between))))
        if self.after_mlp is not None:
            computed = self.after_mlp(computed)
        result: torch.Tensor = between + computed
        return result

    def _rotated(self, states: torch.Tensor, rotations: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Queries and keys, (rows, tokens, heads, size), turned by their positions, where they are or elsewhere."""
        if self._head_scales is not None:
            states = torch.nn.functional.rms_norm(states, (self._size,), eps=self._head_epsilon)
            states = states * self._head_scales
        return self._turned(states, *rotations)

    def _turned(self, states: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor) -> torch.Tensor:
        turned = cosines.shape[-1]
        if turned == self._size:
            return _turned(states, cosines, sines)
        # Some models rotate the first numbers of each head only.
        first, rest = states[..., :turned], states[..., turned:]
        return torch.cat([_turned(first, cosines, sines), rest], dim=-1)

    def _attended(
        self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """(rows, tokens, heads, size)."""
        attended: torch.Tensor = self._attend(self, queries, keys, values, mask, **self._options)[0]
        return attended

    def _gated(self, states: torch.Tensor) -> torch.Tensor:
        """(..., 2 x inner size) to (..., inner size)."""
        gate, up = states.chunk(2, dim=-1)
        gated: torch.Tensor = self.activation(gate) * up
        return gated

    def _norm(self, norm: Any) -> torch.nn.Module:
        """A faster equal; Gemma's norm, which scales differently, as it is."""
        if hasattr(norm, "variance_epsilon"):
            return _RmsNorm(norm)
        kept: torch.nn.Module = norm
        return kept

    def _optional_norm(self, layer: Any, name: str | None) -> torch.nn.Module | None:
        return None if name is None else self._norm(getattr(layer, name))


def _turned(states: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor) -> torch.Tensor:
    """Both products are rounded before they are added, as the library's are: not addcmul."""
    return (states * cosines).add_(states.roll(cosines.shape[-1] // 2, -1).mul_(sines))


def rotations(
    _module: Any, _arguments: Any, output: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """A rotary embedding's forward hook: cosines and sines as fused layers read them, once for all layers.

    From (rows, tokens, size) to (rows, tokens, 1, size), the first half of the sines negated.
    """
    cosines, sines = output
    first, second = sines.chunk(2, dim=-1)
    return cosines[:, :, None], torch.cat([-first, second], dim=-1)[:, :, None]


def _joined(parent: Any, names: tuple[str, ...]) -> torch.nn.Module:
    parts = tuple(getattr(parent, name) for name in names)
    single: torch.nn.Module = parts[0]
    return single if len(parts) == 1 else JoinedLinear(parts)


class _RmsNorm(torch.nn.Module):
    """Rounds before it scales, as the library's do: torch.nn.RMSNorm rounds once, after it."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.weight = norm.weight
        self._shape, self._epsilon = tuple(norm.weight.shape), norm.variance_epsilon

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(..., size) to the same."""
        normed: torch.Tensor = torch.nn.functional.rms_norm(states, self._shape, eps=self._epsilon)
        scaled: torch.Tensor = normed * self.weight
        return scaled
