"""What a worker counts. Names are OpenTelemetry's `gen_ai.*` as Prometheus spells them; ours begin with
`gyre_gateway_`. Workers share them through files (prometheus_client's multi-process mode): the service's own
/metrics shows the sum (`pool.ProxyMetrics`).
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/ (advised boundaries)
DURATION = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
FIRST_TOKEN = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
OUTPUT_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576)

MODEL = ["project", "gen_ai_operation_name", "gen_ai_request_model", "gen_ai_response_model"]


class Series:
    """The series of one model, looked up once: finding labels costs more than counting."""

    def __init__(self, metrics: Metrics, model: tuple[str, ...]) -> None:
        self._metrics = metrics
        self._model = model
        self._seconds: dict[str, Histogram] = {}
        self.first_token = metrics.first_token_seconds.labels(*model)
        self.output_token = metrics.output_token_seconds.labels(*model)
        self.tokens_in = metrics.tokens.labels(*model, "input")
        self.tokens_out = metrics.tokens.labels(*model, "output")
        self.tokens_cached = metrics.cached.labels(*model)

    def seconds(self, error_type: str) -> Histogram:
        if error_type not in self._seconds:
            self._seconds[error_type] = self._metrics.request_seconds.labels(*self._model, error_type)
        return self._seconds[error_type]


class Metrics:
    """One a worker."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
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
        self._gauges(registry)
        self._series: dict[tuple[str, ...], Series] = {}
        self._answered: dict[tuple[str, int], Counter] = {}
        self._shown: dict[Gauge, set[tuple[str, ...]]] = {}

    def of(self, model: tuple[str, ...]) -> Series:
        """`model` holds the values of MODEL."""
        if model not in self._series:
            self._series[model] = Series(self, model)
        return self._series[model]

    def answered(self, route: str, status: int) -> Counter:
        if (route, status) not in self._answered:
            self._answered[route, status] = self.requests.labels(route, str(status))
        return self._answered[route, status]

    def show(self, gauge: Gauge, values: dict[tuple[str, ...], int]) -> None:
        """Sets the series of `gauge`; those that are gone go to 0, for a shared file cannot forget them."""
        for labels in self._shown.setdefault(gauge, set()) - values.keys():
            gauge.labels(*labels).set(0)
        for labels, value in values.items():
            gauge.labels(*labels).set(value)
        self._shown[gauge] = set(values)

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
