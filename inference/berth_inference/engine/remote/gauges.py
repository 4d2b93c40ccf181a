"""What vLLM's own page of metrics says of its memory. Pure."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from berth_inference.engine.interface import Occupancy

_USAGE = "vllm:kv_cache_usage_perc"
_QUERIES = "vllm:prefix_cache_queries_total"
_HITS = "vllm:prefix_cache_hits_total"


def memory(page: str) -> Occupancy:
    """From the text of GET /metrics, over all of vLLM's engines: the fullest one's memory, and everybody's tokens.

    What the page lacks is 0. Raises ValueError for lines that cannot be read.
    """
    # Of a page of a thousand lines, most are of histograms.
    lines = [line for line in page.splitlines() if line.startswith((_USAGE, _QUERIES, _HITS))]
    found: dict[str, list[float]] = {_USAGE: [0.0], _QUERIES: [0.0], _HITS: [0.0]}
    for family in text_string_to_metric_families("\n".join([*lines, ""])):
        for sample in family.samples:
            if sample.name in found:
                found[sample.name].append(sample.value)
    return Occupancy(
        kv_usage=max(found[_USAGE]),
        prefix_queries=int(sum(found[_QUERIES])),
        prefix_hits=int(sum(found[_HITS])),
    )
