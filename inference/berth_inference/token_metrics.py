"""The two metrics that every token changes.

The library's own classes take locks and check labels at each change, which was a quarter of what a token costs
on its way from the engine to an answer.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class TokenMetrics(Collector):
    """Tokens that were generated, and the times between them, for one model.

    Written and read on the event loop alone. `bounds` are the histogram's, in seconds, ascending.
    """

    def __init__(self, model: str, bounds: Sequence[float]) -> None:
        self._model = model
        self._bounds = tuple(bounds)
        self._labels = [*map(floatToGoString, self._bounds), "+Inf"]
        self._buckets = [0] * len(self._labels)
        self._seconds = 0.0
        self.generated = 0
        """Tokens so far, of all sequences."""

    def between(self, seconds: float) -> None:
        """A sequence got a token so long after the one before."""
        self._buckets[bisect_left(self._bounds, seconds)] += 1
        self._seconds += seconds

    def collect(self) -> Iterator[Metric]:
        """For the registry."""
        generated = CounterMetricFamily(
            "vllm:generation_tokens", "Tokens that were generated", labels=["model_name"]
        )
        generated.add_metric([self._model], self.generated)
        yield generated
        between = HistogramMetricFamily(
            "vllm:inter_token_latency_seconds", "Between two tokens of a sequence", labels=["model_name"]
        )
        counts = map(float, accumulate(self._buckets))
        between.add_metric([self._model], list(zip(self._labels, counts, strict=True)), self._seconds)
        yield between
