"""What applications ask of models, and what becomes of that."""

from __future__ import annotations

from typing import Final

from infra.grafana.boards.panels import Board, Panel, quantile, rate

MODEL: Final = 'gen_ai_request_model=~"$model"'
REQUEST: Final = "gen_ai_server_request_duration_seconds"
TOKENS: Final = "gen_ai_client_token_usage"
CACHED: Final = rate("gyre_gateway_cached_prompt_tokens_total", "gen_ai_request_model", MODEL)
PROMPT_TOKENS: Final = rate(f"{TOKENS}_sum", "gen_ai_request_model", f'{MODEL}, gen_ai_token_type="input"')
CACHE_HITS: Final = rate("gyre_gateway_cache_lookups_total", "project", 'result="hit"')
BY_VERSION: Final = rate(f"{REQUEST}_count", "gen_ai_response_model", MODEL)

GATEWAY = Board(
    uid="gyre-gateway",
    title="Gyre: gateway",
    variable=("model", "gen_ai_request_model", f"{REQUEST}_count"),
    rows=[
        (
            "Requests",
            [
                Panel("Rate", "By path and status; 499: the client left.",
                      [(rate("gyre_gateway_requests_total", "route, status"), "{{route}} {{status}}")], "reqps"),
                Panel("Running", "Requests being answered, by target.",
                      [("sum by (target) (gyre_gateway_requests_running)", "{{target}}")]),
                Panel("Waiting for a turn", "Requests that wait for a place at an engine, by target.",
                      [("sum by (target) (gyre_gateway_requests_waiting)", "{{target}}")]),
                Panel("Completions", "A second, by deployment and kind of error (empty: none).",
                      [(rate(f"{REQUEST}_count", "gen_ai_request_model, error_type", MODEL),
                        "{{gen_ai_request_model}} {{error_type}}")], "reqps", width=12),
                Panel("Whole answer", "Median and 95th percentile.",
                      [(quantile(0.5, REQUEST, "gen_ai_request_model", MODEL), "{{gen_ai_request_model}} p50"),
                       (quantile(0.95, REQUEST, "gen_ai_request_model", MODEL), "{{gen_ai_request_model}} p95")],
                      "s", width=12),
                Panel("Errors by cause", "A second; what was not answered in full.",
                      [(rate(f"{REQUEST}_count", "error_type", f'{MODEL}, error_type!=""'), "{{error_type}}")],
                      "reqps", width=12),
                Panel("Open client connections", "All workers together.",
                      [("gyre_gateway_client_connections", "connections")], width=12),
            ],
        ),
        (
            "Tokens",
            [
                Panel("Time to first token", "Streamed answers; median and 95th percentile.",
                      [(quantile(0.5, "gen_ai_server_time_to_first_token_seconds", "gen_ai_request_model", MODEL),
                        "{{gen_ai_request_model}} p50"),
                       (quantile(0.95, "gen_ai_server_time_to_first_token_seconds", "gen_ai_request_model", MODEL),
                        "{{gen_ai_request_model}} p95")], "s"),
                Panel("Inter-token latency", "Streamed answers, after the first token; median and 95th percentile.",
                      [(quantile(0.5, "gen_ai_server_time_per_output_token_seconds", "gen_ai_request_model", MODEL),
                        "{{gen_ai_request_model}} p50"),
                       (quantile(0.95, "gen_ai_server_time_per_output_token_seconds", "gen_ai_request_model", MODEL),
                        "{{gen_ai_request_model}} p95")], "s"),
                Panel("Tokens a second", "As the engines counted them, by deployment.",
                      [(rate(f"{TOKENS}_sum", "gen_ai_request_model, gen_ai_token_type", MODEL),
                        "{{gen_ai_request_model}} {{gen_ai_token_type}}")], "ops"),
                Panel("Tokens by project", "A second: whose applications use it.",
                      [(rate(f"{TOKENS}_sum", "project, gen_ai_token_type", MODEL),
                        "{{project}} {{gen_ai_token_type}}")], "ops", width=12),
                Panel("Cache hits", "Share of prompts' tokens that the engine had computed before: as it says itself, "
                      "where it does.",
                      [(f"{CACHED} / {PROMPT_TOKENS}", "{{gen_ai_request_model}}")], "percentunit", width=12),
            ],
        ),
        (
            "Roll-outs",
            [
                Panel("Versions that answered", "Share of each while traffic shifts.",
                      [(f"{BY_VERSION} / on () group_left sum(rate({REQUEST}_count{{{MODEL}}}[$__rate_interval]))",
                        "{{gen_ai_response_model}}")], "percentunit"),
                Panel("Roll-outs", "Ended in the last day, and running now.",
                      [('delta(gyre_gateway_rollouts{state!="RUNNING"}[1d])', "{{state}}"),
                       ('gyre_gateway_rollouts{state="RUNNING"}', "running")]),
                Panel("Ready targets", "Of each deployment; at 0 nobody answers.",
                      [("gyre_gateway_ready_targets", "{{project}} {{deployment}}")]),
            ],
        ),
        (
            "Money",
            [
                Panel("Cost", "US dollars an hour, by the prices of the targets that answered.",
                      [(f"3600 * {rate('gyre_gateway_cost_usd_total', 'project, gen_ai_request_model', MODEL)}",
                        "{{project}} {{gen_ai_request_model}}")], "currencyUSD", width=12),
                Panel("Budgets used", "Share of each budget in its present period; without a key it is the project's.",
                      [("gyre_gateway_budget_used_ratio", "{{project}} {{key}}")], "percentunit", width=12),
            ],
        ),
        (
            "Engines",
            [
                Panel("Failed attempts", "At an engine, by reason; another target is asked where there is one.",
                      [(rate("gyre_gateway_upstream_failures_total", "target, reason"), "{{target}} {{reason}}")],
                      "ops", width=12),
                Panel("Connections to engines", "Busy, idle, and requests that wait for one.",
                      [("sum by (origin, state) (gyre_gateway_upstream_connections)", "{{origin}} {{state}}")],
                      width=12),
                Panel("Replicas", "That are not stopped, by state.",
                      [("sum by (state) (gyre_replicas)", "{{state}}")], width=12),
                Panel("Waking", "How long requests waited for a deployment that slept; median and 95th percentile.",
                      [(quantile(0.5, "gyre_gateway_wake_seconds", "job"), "p50"),
                       (quantile(0.95, "gyre_gateway_wake_seconds", "job"), "p95")], "s", width=12),
            ],
        ),
        (
            "Traffic beside the split",
            [
                Panel("Shadows", "Copies of requests, by target and what became of them.",
                      [(rate("gyre_gateway_shadow_requests_total", "target, outcome"), "{{target}} {{outcome}}")],
                      "reqps", width=12),
                Panel("Fallbacks", "Requests that another deployment answered.",
                      [(rate("gyre_gateway_fallbacks_total", "project, asked, answered"),
                        "{{project}} {{asked}} → {{answered}}")],
                      "reqps", width=12),
                Panel("Prompts that left", "Own hardware, to rented engines.",
                      [(rate("gyre_gateway_prompts_sent_out_total", "project, upstream, region"),
                        "{{project}} → {{upstream}} ({{region}})")],
                      "reqps", width=12),
                Panel("Stood back", "Targets that were worse than their equals, by what.",
                      [(rate("gyre_gateway_ejections_total", "target, reason"), "{{target}} {{reason}}")],
                      "ops", width=12),
            ],
        ),
        (
            "Guardrails and the exact cache",
            [
                Panel("Found by guardrails", "Requests and answers in which a rule found something, by what was done.",
                      [(rate("gyre_gateway_guardrails_total", "finding, action", 'finding!~"hook.*"'),
                        "{{finding}} {{action}}")], "reqps"),
                Panel("Hooks", "What hooks of projects refused, and how often one did not answer.",
                      [(rate("gyre_gateway_guardrails_total", "project, finding, action", 'finding=~"hook.*"'),
                        "{{project}} {{finding}} {{action}}")], "reqps"),
                Panel("Answered from the exact cache", "Share of the requests that it could answer, by project.",
                      [(f"{CACHE_HITS} / {rate('gyre_gateway_cache_lookups_total', 'project')}", "{{project}}")],
                      "percentunit"),
            ],
        ),
        (
            "Batches, experiments, adapters",
            [
                Panel("Lines of batches", "Of those that are not over: answered, failed, and waiting.",
                      [("gyre_gateway_batch_lines", "{{state}}")]),
                Panel("Experiments", "Decided or stopped in the last day, and running now.",
                      [('delta(gyre_gateway_experiments{state!="RUNNING"}[1d])', "{{state}}"),
                       ('gyre_gateway_experiments{state="RUNNING"}', "running")]),
                Panel("Tokens of shadows", "A second, by target; billed to nobody.",
                      [(rate("gyre_gateway_shadow_tokens_total", "target"), "{{target}}")], "ops"),
                Panel("Adapters", "Loaded by engines, and let go because others were used later.",
                      [(rate("gyre_gateway_adapters_total", "event"), "{{event}}")], "ops", width=12),
                Panel("Asleep and waking", "Targets that sleep until somebody asks, and replicas that come up.",
                      [("sum by (project, deployment) (gyre_gateway_sleeping_targets)",
                        "{{project}} {{deployment}} asleep"),
                       ('sum(gyre_replicas{state=~"PENDING|STARTING"})', "coming up")], width=12),
            ],
        ),
        (
            "Completions kept for feedback",
            [
                Panel("Kept", "Of projects that consented, by what became of them.",
                      [(rate("gyre_gateway_records_total", "outcome"), "{{outcome}}"),
                       (rate("gyre_gateway_shipped_records_total", "outcome"), "shipped: {{outcome}}")], "ops"),
                Panel("On disk", "Completions that wait for the control plane.",
                      [("gyre_gateway_spool_bytes", "spool")], "bytes"),
                Panel("Old routes", "By how much the oldest worker's routes and keys are behind; 0: by none.",
                      [("(gyre_gateway_published_snapshot_revision - gyre_gateway_snapshot_revision) / 1e3", "behind")],
                      "s", width=4),
                Panel("Bad snapshots", "Snapshots that could not be read since the start.",
                      [("gyre_gateway_snapshot_failures_total", "")], width=4, now=True),
            ],
        ),
    ],
)  # fmt: skip
