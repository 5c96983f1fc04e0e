"""What a worker counts. Names are OpenTelemetry's `gen_ai.*` as Prometheus spells them; ours begin with
`gyre_gateway_`. Workers share them through files (prometheus_client's multi-process mode): the service's own
/metrics shows the sum (`pool.ProxyMetrics`).

What is counted for every request is counted in plain numbers and brought into those files once a second (`flush`): a
write to a shared file takes longer than all else that there is to count.
"""

from __future__ import annotations

from bisect import bisect_left

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/ (advised boundaries)
DURATION = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
FIRST_TOKEN = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
OUTPUT_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576)

MODEL = ["project", "gen_ai_operation_name", "gen_ai_request_model", "gen_ai_response_model"]


class Tally:
    """A histogram's series: what came since the last `flush`."""

    __slots__ = ("_bounds", "_counts", "_histogram", "_sum")

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._bounds: list[float] = histogram._upper_bounds  # the last one is infinite
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def flush(self) -> None:
        """The library takes single values only; several at once are what it does with each, said once."""
        if not any(self._counts):
            return
        for bucket, count in zip(self._histogram._buckets, self._counts, strict=True):
            if count:
                bucket.inc(count)
        self._histogram._sum.inc(self._sum)
        self._counts, self._sum = [0] * len(self._bounds), 0.0


class Series:
    """The series of one model, looked up once: finding labels costs more than counting."""

    def __init__(self, metrics: Metrics, model: tuple[str, ...]) -> None:
        self._metrics = metrics
        self._model = model
        self._seconds: dict[str, Tally] = {}
        self.first_token = metrics.tally(metrics.first_token_seconds, *model)
        self.output_token = metrics.tally(metrics.output_token_seconds, *model)
        self.tokens_in = metrics.tally(metrics.tokens, *model, "input")
        self.tokens_out = metrics.tally(metrics.tokens, *model, "output")
        self.tokens_cached = metrics.cached.labels(*model)

    def seconds(self, error_type: str) -> Tally:
        found = self._seconds.get(error_type)
        if found is None:
            found = self._metrics.tally(self._metrics.request_seconds, *self._model, error_type)
            self._seconds[error_type] = found
        return found


class Metrics:
    """One a worker."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self._histograms(registry)
        self._counters(registry)
        self._traffic(registry)
        self._gauges(registry)
        self._tallies: list[Tally] = []
        self._series: dict[tuple[str, ...], Series] = {}
        self._answered: dict[tuple[str, int], int] = {}
        self._shown: dict[Gauge, set[tuple[str, ...]]] = {}

    def of(self, model: tuple[str, ...]) -> Series:
        """`model` holds the values of MODEL."""
        found = self._series.get(model)
        if found is None:
            found = self._series[model] = Series(self, model)
        return found

    def answered(self, route: str, status: int) -> None:
        self._answered[route, status] = self._answered.get((route, status), 0) + 1

    def tally(self, histogram: Histogram, *labels: str) -> Tally:
        made = Tally(histogram.labels(*labels))
        self._tallies.append(made)
        return made

    def flush(self) -> None:
        """Brings what was counted into the files that all workers share."""
        answered, self._answered = self._answered, {}
        for (route, status), count in answered.items():
            self.requests.labels(route, str(status)).inc(count)
        for tally in self._tallies:
            tally.flush()

    def show(self, gauge: Gauge, values: dict[tuple[str, ...], int]) -> None:
        """Sets the series of `gauge`; those that are gone go to 0, for a shared file cannot forget them."""
        for labels in self._shown.setdefault(gauge, set()) - values.keys():
            gauge.labels(*labels).set(0)
        for labels, value in values.items():
            gauge.labels(*labels).set(value)
        self._shown[gauge] = set(values)

    def _histograms(self, registry: CollectorRegistry) -> None:
        self.request_seconds = Histogram(
            "gen_ai_server_request_duration_seconds",
            "From the whole request to the end of its answer; error_type is empty for a good one.",
            [*MODEL, "error_type"],
            buckets=DURATION,
            registry=registry,
        )
        self.first_token_seconds = Histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "From the whole request to the first token of a streamed answer.",
            MODEL,
            buckets=FIRST_TOKEN,
            registry=registry,
        )
        self.output_token_seconds = Histogram(
            "gen_ai_server_time_per_output_token_seconds",
            "Time for each token after the first of a streamed answer.",
            MODEL,
            buckets=OUTPUT_TOKEN,
            registry=registry,
        )
        self.tokens = Histogram(
            "gen_ai_client_token_usage",
            "Tokens of one request, as the engine counted them.",
            [*MODEL, "gen_ai_token_type"],
            buckets=TOKENS,
            registry=registry,
        )
        self.woken_seconds = Histogram(
            "gyre_gateway_wake_seconds",
            "How long requests waited for a deployment that slept; those that gave up are not here.",
            buckets=DURATION,
            registry=registry,
        )

    def _counters(self, registry: CollectorRegistry) -> None:
        self.cached = Counter(
            "gyre_gateway_cached_prompt_tokens",
            "Tokens of prompts that the engine had in its cache, where it tells.",
            MODEL,
            registry=registry,
        )
        self.requests = Counter(
            "gyre_gateway_requests",
            "Requests by path and status; 499: the client left.",
            ["route", "status"],
            registry=registry,
        )
        self.attempts = Counter(
            "gyre_gateway_upstream_failures",
            "Attempts at an engine that failed, by how.",
            ["target", "reason"],
            registry=registry,
        )
        self.records = Counter(
            "gyre_gateway_records",
            "Completions of projects that consented, by what became of them.",
            ["outcome"],
            registry=registry,
        )
        self.snapshot_failures = Counter(
            "gyre_gateway_snapshot_failures", "Snapshots that could not be read.", registry=registry
        )

    def _gauges(self, registry: CollectorRegistry) -> None:
        self.in_flight = Gauge(
            "gyre_gateway_requests_running",
            "Requests being answered, by target.",
            ["target"],
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.queue = Gauge(
            "gyre_gateway_requests_waiting",
            "Requests that wait for a place at an engine, by target.",
            ["target"],
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.connections = Gauge(
            "gyre_gateway_client_connections",
            "Open client connections.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.pool = Gauge(
            "gyre_gateway_upstream_connections",
            "Connections to engines (busy, idle) and requests that wait for one.",
            ["origin", "state"],
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.record_queue = Gauge(
            "gyre_gateway_record_queue_length",
            "Completions not yet written to the spool.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.snapshot_revision = Gauge(
            "gyre_gateway_snapshot_revision",
            "The oldest snapshot in use.",
            multiprocess_mode="livemin",
            registry=registry,
        )

    def _traffic(self, registry: CollectorRegistry) -> None:
        self.shadows = Counter(
            "gyre_gateway_shadow_requests",
            "Copies of requests for shadows, by what became of them.",
            ["target", "outcome"],
            registry=registry,
        )
        self.shadow_tokens = Counter(
            "gyre_gateway_shadow_tokens", "Tokens of shadows, billed to nobody.", ["target"], registry=registry
        )
        self.fallbacks = Counter(
            "gyre_gateway_fallbacks",
            "Requests that another deployment answered, for the one that was asked could not.",
            ["project", "asked", "answered"],
            registry=registry,
        )
        self.ejections = Counter(
            "gyre_gateway_ejections",
            "Times that a target stood back because it was worse than its equals, by what.",
            ["target", "reason"],
            registry=registry,
        )
        self.guardrails = Counter(
            "gyre_gateway_guardrails",
            "Requests and answers in which a guardrail found something, by what and by what was done.",
            ["project", "finding", "action"],
            registry=registry,
        )
        self.cache = Counter(
            "gyre_gateway_cache_lookups",
            "Requests that the exact cache could answer, by what it did: hit, miss or refresh.",
            ["project", "result"],
            registry=registry,
        )
        self.sent_out = Counter(
            "gyre_gateway_prompts_sent_out",
            "Prompts that left own hardware, to rented engines.",
            ["project", "upstream", "region"],
            registry=registry,
        )
