"""Loads a model for an engine. Imports torch and transformers when called, not before."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from berth_inference.adapters import adapter_config
from berth_inference.engine.interface import Engine
from berth_inference.errors import LoadError, LoadFailure
from berth_inference.garbage import keep_what_is_loaded, search_the_rest
from berth_inference.hub import find_model
from berth_inference.processor import share_the_cores, threads_within_quota
from berth_inference.progress import LoadProgress, Phase
from berth_inference.read_ahead import read_ahead
from berth_inference.settings import Settings

_log = logging.getLogger(__name__)


def load_engine(settings: Settings, progress: LoadProgress) -> Engine:
    """A warm engine for the settings' model. Blocking, for minutes where weights are large.

    Raises `LoadError` with what is wrong and what to do.
    """
    for adapter in settings.adapter:
        adapter_config(adapter)  # before anything is downloaded, which may take minutes
    folder = find_model(settings.model, settings.revision, progress)
    progress.enter(Phase.LOADING)
    read_ahead(folder, progress.moved)
    share_the_cores()
    pipeline = _load_pipeline(folder, settings)
    progress.enter(Phase.WARMING_UP)

    from berth_inference.engine.batch.engine import BatchEngine, BatchSettings  # imports torch

    batch = BatchSettings(
        max_queued=settings.max_queued,
        max_rows=settings.max_rows,
        step_tokens=settings.step_tokens,
        kv_bytes=settings.kv_memory,
        deadline=settings.request_seconds,
        prefix_share=settings.prefix_cache,
        lookup_tokens=settings.lookup_tokens,
    )
    engine = BatchEngine(pipeline, names=settings.names, settings=batch)
    try:
        engine.warm_up()
    except Exception as error:
        engine.close()
        _log.debug("warm-up failed", exc_info=True)
        raise LoadError(
            f"{settings.model} was loaded but cannot generate: {type(error).__name__}: {_one_line(error)}",
            _warm_up_failure(error),
        ) from error
    keep_what_is_loaded()
    return engine


def _load_pipeline(folder: Path, settings: Settings) -> Any:
    import torch
    import transformers

    search_the_rest()  # before there are weights
    threads = threads_within_quota()
    if threads is not None and threads < torch.get_num_threads():
        torch.set_num_threads(threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    on_gpu = torch.cuda.is_available()
    if settings.device == "cuda" and not on_gpu:
        raise LoadError(
            "--device cuda, but torch sees no GPU: use --device auto or cpu, or give the pod a GPU",
            LoadFailure.NO_GPU,
        )
    on_gpu = on_gpu and settings.device != "cpu"
    # cuDNN's attention makes a plan for each new length of keys, and decoding has one at every step: 48 instead of
    # 13 ms a step of 22 layers on an H100 (benchmarks.inference.forward).
    torch.backends.cuda.enable_cudnn_sdp(False)
    # Everything is on disk by now, and nothing that a model brings along is ever executed.
    source: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = transformers.AutoConfig.from_pretrained(folder, **source)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=_dtype(settings.dtype, config, on_gpu=on_gpu),
            device_map="auto" if on_gpu else None,
            use_safetensors=True,
            **source,
        )
        if settings.dtype == "auto" and not on_gpu:
            model = _in_a_fast_number_type(model)
        if settings.adapter:
            from berth_inference.merging import merge_adapters  # imports peft, which takes seconds

            # Before the engine joins layers: an adapter is of the library's own.
            model = merge_adapters(model, settings.adapter, settings.model)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **source)
        return transformers.pipeline("text-generation", model=model, tokenizer=tokenizer)
    except LoadError:
        raise
    except torch.OutOfMemoryError:
        raise LoadError(
            f"{settings.model} does not fit into the GPU's memory: use a larger GPU, more of them, or a smaller model",
            LoadFailure.GPU_OUT_OF_MEMORY,
        ) from None
    except MemoryError:
        raise LoadError(
            f"{settings.model} does not fit into memory: give the pod more", LoadFailure.OUT_OF_MEMORY
        ) from None
    except Exception as error:  # whatever a damaged or unknown model makes the libraries raise
        _log.debug("loading failed", exc_info=True)
        if "trust_remote_code" in str(error):
            raise LoadError(
                f"{settings.model} needs Python code from its repository, which is never run here: "
                "choose a model whose architecture transformers has"
            ) from None
        raise LoadError(
            f"{settings.model} cannot be loaded: {type(error).__name__}: {_one_line(error)}"
        ) from None


def _dtype(asked: str, config: Any, *, on_gpu: bool) -> Any:
    """The number type to load the weights in. On a CPU float16 is several times slower than float32."""
    import torch

    if asked != "auto":
        return getattr(torch, asked)
    stored = getattr(config, "dtype", None) or torch.float32
    return stored if on_gpu or stored is torch.bfloat16 else torch.float32


def _in_a_fast_number_type(model: Any) -> Any:
    """The model, made float32 where bfloat16 would be slower.

    Without instructions for it, torch and oneDNN take several times as long for bfloat16 on a CPU. Berth's own layers
    do not, whose sums are float32, and they read half as many bytes.
    """
    import torch

    from berth_inference.engine.batch.fusion import computed_in_c

    if model.dtype is not torch.bfloat16 or torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return model
    if computed_in_c(model):
        return model
    _log.info("computed in float32: on this processor, bfloat16 would be slower for this model")
    return model.float()


def _warm_up_failure(error: Exception) -> LoadFailure:
    import torch

    # The first token needs memory beside the weights.
    return (
        LoadFailure.GPU_OUT_OF_MEMORY if isinstance(error, torch.OutOfMemoryError) else LoadFailure.INTERNAL
    )


def _one_line(error: BaseException) -> str:
    """The first line of what a library says, kept short: it is foreign text."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else "no message"
