"""What is measured, under vLLM's names where they mean the same, so that its dashboards and scalers work.

The boundaries of the histograms are vLLM's too: queries over servers of both kinds then add up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from berth_inference.engine.interface import Occupancy
from berth_inference.errors import ErrorKind
from berth_inference.token_metrics import TokenMetrics

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
"""The one format that is spoken: in OpenMetrics the library replaces the colons of names."""

FINISHED_REASONS = ("stop", "length", "abort", "error")
"""Why a request ended, in vLLM's words: abort where nobody wanted the rest."""

_FIRST_TOKEN = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
_INTER_TOKEN = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
)
_REQUEST = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0),
    *(120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)
_SEQUENCES = (1, 2, 5, 10, 20)
# vLLM ends the series at the model's context, which is not known yet; contexts of today end here.
_TOKENS = tuple(
    digit * 10**power for power in range(6) for digit in (1, 2, 5) if digit * 10**power <= 200_000
)


class Metrics:
    """One server's metrics, in a registry of its own. Every method may be called from the event loop alone."""

    def __init__(self, model: str) -> None:
        self.registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=self.registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            found = Histogram(f"vllm:{name}", text, ("model_name",), buckets=buckets, registry=self.registry)
            return found.labels(model)

        self._model = model
        self.prompt_tokens = counter(
            "vllm:prompt_tokens", "Tokens of prompts that were read", "model_name"
        ).labels(model)
        finished = counter(
            "vllm:request_success", "Requests that the engine has ended", "model_name", "finished_reason"
        )
        self.finished = {reason: finished.labels(model, reason) for reason in FINISHED_REASONS}
        self.first_token = histogram(
            "time_to_first_token_seconds", "From the request to its first token", _FIRST_TOKEN
        )
        self.tokens = TokenMetrics(model, _INTER_TOKEN)
        self.registry.register(self.tokens)
        self.request = histogram(
            "e2e_request_latency_seconds", "From the request to its last token", _REQUEST
        )
        self.queue = histogram("request_queue_time_seconds", "From the request to its admission", _REQUEST)
        self.request_prompt = histogram("request_prompt_tokens", "Tokens of a prompt", _TOKENS)
        self.request_generation = histogram("request_generation_tokens", "Tokens of an answer", _TOKENS)
        self.request_n = histogram("request_params_n", "Sequences that a request asks for", _SEQUENCES)
        self.request_max_tokens = histogram(
            "request_params_max_tokens", "New tokens that a request allows", _TOKENS
        )
        self._http = counter("berth_http_requests", "Requests by route and status", "path", "code")
        refused = counter(
            "berth_requests_refused", "Requests that were refused or failed, by what clients are told", "kind"
        )
        self._refused = {kind: refused.labels(kind.value) for kind in ErrorKind}
        Gauge(
            "berth_build_info",
            "Always 1; its labels say what runs",
            ("version", "model"),
            registry=self.registry,
        ).labels(version("berth"), model).set(1)

    def watch(self, occupancy: Callable[[], Occupancy], ready: Callable[[], bool]) -> None:
        """Read these at each scrape."""
        self.registry.register(_AskedFor(self._model, occupancy, ready))

    def answered(self, route: str, status: int, error: ErrorKind | None) -> None:
        """Count an HTTP request."""
        self._http.labels(route, str(status)).inc()
        if error is not None:
            self._refused[error].inc()

    def page(self) -> bytes:
        """Everything as Prometheus' text, of type `CONTENT_TYPE`."""
        return generate_latest(self.registry)


class _AskedFor(Collector):
    """What the engine knows, which is asked for rather than kept up to date."""

    def __init__(self, model: str, occupancy: Callable[[], Occupancy], ready: Callable[[], bool]) -> None:
        self._model = model
        self._occupancy = occupancy
        self._ready = ready

    def collect(self) -> Iterator[Metric]:
        now = self._occupancy()
        for name, text, value in (
            ("vllm:num_requests_running", "Requests whose tokens are generated", now.running),
            ("vllm:num_requests_waiting", "Requests that wait to be admitted", now.waiting),
            ("vllm:kv_cache_usage_perc", "Reserved share of the key-value memory; 1 is all", now.kv_usage),
            ("berth_model_ready", "1 while requests are taken, else 0", float(self._ready())),
        ):
            family = GaugeMetricFamily(name, text, labels=["model_name"])
            family.add_metric([self._model], value)
            yield family
        for name, text, count in (
            ("vllm:prefix_cache_queries", "Tokens of prompts that were looked up", now.prefix_queries),
            ("vllm:prefix_cache_hits", "Tokens of prompts that were known already", now.prefix_hits),
            (
                "vllm:spec_decode_num_draft_tokens",
                "Tokens that were drafted from a text so far",
                now.draft_tokens,
            ),
            ("vllm:spec_decode_num_accepted_tokens", "Drafted tokens that were right", now.accepted_tokens),
        ):
            counter = CounterMetricFamily(name, text, labels=["model_name"])
            counter.add_metric([self._model], count)
            yield counter
