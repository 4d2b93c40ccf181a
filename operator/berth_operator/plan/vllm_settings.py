"""Settings of vLLM that a ConfigMap may hold: those whose meaning Berth knows, so that it can judge them.

vLLM has hundreds, which come and go with its releases, and a slip in one of them would end in a crash loop. What stands
here is long-standing and runs no code. A preset's own `vllm.args` may hold any other.
"""

from collections.abc import Mapping
from typing import Any, Final

_COUNT: Final = {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}
_TRUTH: Final = {"type": "boolean"}

SETTINGS: Final[Mapping[str, Mapping[str, Any]]] = {
    "max_model_len": {**_COUNT, "description": "longest prompt and answer together, in tokens"},
    "gpu_memory_utilization": {
        "type": "number",
        "minimum": 0.1,
        "maximum": 1,
        "description": "share of each GPU's memory that vLLM takes",
    },
    "max_num_seqs": {**_COUNT, "description": "most sequences that are generated at once"},
    "max_num_batched_tokens": {**_COUNT, "description": "most tokens of one step"},
    "kv_cache_dtype": {
        "type": "string",
        "choices": ["auto", "fp8", "fp8_e4m3", "fp8_e5m2"],
        "description": "number type of keys and values",
    },
    "quantization": {
        "type": "string",
        "choices": ["bitsandbytes", "fp8"],
        "description": "how weights are made smaller as they are loaded",
    },
    "block_size": {
        "type": "integer",
        "minimum": 1,
        "maximum": 256,
        "description": "tokens of one block of keys and values",
    },
    "cpu_offload_gb": {
        "type": "number",
        "minimum": 0,
        "maximum": 1024,
        "description": "GiB of weights of each GPU that are kept in the pod's memory",
    },
    "enable_prefix_caching": {
        **_TRUTH,
        "description": "whether beginnings that prompts share are computed once",
    },
    "enable_chunked_prefill": {
        **_TRUTH,
        "description": "whether long prompts are read in parts, between tokens of other requests",
    },
    "enforce_eager": {
        **_TRUTH,
        "description": "whether nothing is compiled: a quicker start, less memory, slower answers",
    },
    "disable_custom_all_reduce": {
        **_TRUTH,
        "description": "whether GPUs add up their parts with NCCL alone",
    },
    "seed": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1, "description": "of requests without one"},
}
"""By name as a field; each in the form of `data/server_settings.json`."""

_ONE_COPY: Final = (
    "a pod holds one copy of the model on the preset's GPUs, or the pods of resource.count hold one together where "
    "one node cannot"
)
_NO_CODE: Final = "code is not loaded from a model, a file or a name"

RESERVED: Final[Mapping[str, str]] = {
    "model": "inference.preset names the model",
    "tokenizer": "the preset's model has its own",
    "revision": "the preset pins it",
    "tokenizer_revision": "the preset pins it",
    "code_revision": _NO_CODE,
    "trust_remote_code": _NO_CODE,
    "middleware": _NO_CODE,
    "tool_parser_plugin": _NO_CODE,
    "logits_processors": _NO_CODE,
    "worker_cls": _NO_CODE,
    "worker_extension_cls": _NO_CODE,
    "served_model_name": "the names of the Workspace, the preset and the hub are served",
    "host": "vLLM is reached through Berth's front alone",
    "port": "vLLM is reached through Berth's front alone",
    "uds": "vLLM is reached through Berth's front alone",
    "api_key": "the annotation berth.dev/api-key-secret names the Secret that holds the keys",
    "load_format": "weights are read as safetensors alone",
    "dtype": "the preset says it, and its memory follows from it",
    "tensor_parallel_size": "it is the preset's number of GPUs",
    "pipeline_parallel_size": _ONE_COPY,
    "data_parallel_size": _ONE_COPY,
    "distributed_executor_backend": _ONE_COPY,
    "download_dir": "the annotation berth.dev/weights says where weights are kept",
    "enable_lora": "inference.adapters needs the runtime transformers",
    "lora_modules": "inference.adapters needs the runtime transformers",
    "generation_config": "what a request leaves out is what Berth's API says",
    "chat_template": "the model's own is used",
    "swap_space": "vLLM does not swap any more",
}
"""Settings that Berth makes itself or keeps away, and what to use instead."""
