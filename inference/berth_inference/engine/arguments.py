"""From an internal request to the arguments of `generate`, and from a model to what is known of it."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from transformers import GenerationConfig

from berth_inference.engine.interface import ModelInfo
from berth_inference.engine.request import GenerationRequest, SamplingParams
from berth_inference.engine.tool_calls import ToolFormat

# Names under which architectures state how many positions they know, most common first.
_CONTEXT_NAMES = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "model_max_length")
# Arguments that transformers does not know: `penalties.py` applies them.
OWN_ARGUMENTS = ("presence_penalty", "frequency_penalty", "logit_bias")
# Arguments that transformers knows and only refuses: `group_beams.py` does what they ask for.
_GROUP_ARGUMENTS = ("num_beam_groups", "diversity_penalty")
_REQUEST_ARGUMENTS = (
    *(item.name for item in fields(SamplingParams) if item.name not in OWN_ARGUMENTS),
    *("max_length", "min_length", "max_new_tokens", "min_new_tokens", "max_time", "num_return_sequences"),
    *("eos_token_id", "pad_token_id", "stop_strings", "output_scores", "return_dict_in_generate"),
)
# Tokenizers without a limit of their own say 1e30; architectures without one (ALiBi) say nothing.
_LARGEST_BELIEVABLE_CONTEXT = 2**24
_CONTEXT_WHEN_UNSTATED = 2048


def generation_config(request: GenerationRequest) -> GenerationConfig:
    """A fresh config that states every argument a request can set.

    Stating all of them matters: `generate` fills what is None from the model's own config, and the
    dialects have already decided what of that applies. Arguments that only sampling or only beam
    search reads stay at their neutral value otherwise.
    """
    values = asdict(request.sampling)
    for name in (*OWN_ARGUMENTS, *_GROUP_ARGUMENTS):
        del values[name]
    if not request.sampling.do_sample:
        values |= {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "typical_p": 1.0}
    values["bad_words_ids"] = [list(word) for word in request.sampling.bad_words_ids] or None
    values["forced_eos_token_id"] = list(request.sampling.forced_eos_token_id) or None
    # A run longer than the text cannot occur, but transformers would build one list per token of it.
    longest = len(request.prompt) + request.max_new_tokens
    if request.sampling.no_repeat_ngram_size > longest:
        values["no_repeat_ngram_size"] = 0
    if request.sampling.encoder_no_repeat_ngram_size > len(request.prompt):
        values["encoder_no_repeat_ngram_size"] = 0
    # transformers applies these whenever they are not None, and then at a cost for every token.
    values["min_p"] = values["min_p"] or None
    values["remove_invalid_values"] = values["remove_invalid_values"] or None
    return GenerationConfig(
        **values,
        max_new_tokens=request.max_new_tokens,
        min_new_tokens=request.min_new_tokens,
        num_return_sequences=request.n,
        eos_token_id=list(request.stop_token_ids) or None,
        pad_token_id=request.pad_token_id,
        max_time=request.max_seconds,
    )


def take_defaults(config: GenerationConfig) -> dict[str, Any]:
    """What a model's publisher set in its generation_config.json, moved out of the config.

    What requests can set is cleared there, once and for all, so that it applies only through a
    request; whatever else the publisher set (suppressed tokens, say) keeps applying by itself.
    """
    defaults = {}
    for name in _REQUEST_ARGUMENTS:
        value = getattr(config, name, None)
        if value is not None:
            defaults[name] = value
        setattr(config, name, None)
    return defaults


def model_info(
    model: Any,
    tokenizer: Any,
    names: tuple[str, ...],
    defaults: dict[str, Any],
    tools: ToolFormat | None,
) -> ModelInfo:
    """What a model and its tokenizer say of themselves."""
    config = model.config.get_text_config()
    stop = defaults.get("eos_token_id", tokenizer.eos_token_id)
    stops = tuple(stop) if isinstance(stop, list) else (stop,) if stop is not None else ()
    pad = defaults.get("pad_token_id", tokenizer.pad_token_id)
    lengths = [getattr(config, name, None) for name in _CONTEXT_NAMES] + [tokenizer.model_max_length]
    believable = [n for n in lengths if isinstance(n, int) and 0 < n <= _LARGEST_BELIEVABLE_CONTEXT]
    return ModelInfo(
        names=names,
        context_length=believable[0] if believable else _CONTEXT_WHEN_UNSTATED,
        vocabulary=model.get_output_embeddings().weight.shape[0],
        stop_token_ids=stops,
        pad_token_id=pad if pad is not None else (stops[0] if stops else None),
        has_chat_template=tokenizer.chat_template is not None,
        dtype=str(model.dtype).removeprefix("torch."),
        device=str(model.device),
        defaults=defaults,
        tool_format=tools,
    )
