"""The Grafana dashboards as code: `python infra/grafana/dashboards.py` writes dashboards/*.json beside it.

A panel is a question with its queries; the layout follows from the order. `tests/infra` asks every query of a real
Prometheus and compares the JSON with what this file makes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableRefresh

FOLDER: Final = Path(__file__).parent / "dashboards"
DATASOURCE: Final = DataSourceRef(type_val="prometheus", uid="gyre-prometheus")  # as provisioned
FAULTS: Final = "INTERNAL|UNKNOWN|UNAVAILABLE|DATA_LOSS|DEADLINE_EXCEEDED"
MODEL: Final = 'gen_ai_request_model=~"$model"'


@dataclass(frozen=True)
class Panel:
    """`queries`: PromQL and the legend of its series. `now`: one number of this moment in place of a curve."""

    title: str
    description: str
    queries: Sequence[tuple[str, str]]
    unit: str = "short"
    width: int = 8
    now: bool = False


@dataclass(frozen=True)
class Board:
    """`variable`: the label to choose from, and the metric that has it."""

    uid: str
    title: str
    rows: Sequence[tuple[str, Sequence[Panel]]]
    variable: tuple[str, str, str] | None = None


def quantile(share: float, metric: str, by: str, where: str = "") -> str:
    return f"histogram_quantile({share}, sum by ({by}, le) (rate({metric}_bucket{{{where}}}[$__rate_interval])))"


def rate(metric: str, by: str, where: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{{{where}}}[$__rate_interval]))"


HERE: Final = 'component=~"$component"'
RPC: Final = "gyre_rpc_server_duration_seconds"
FAULT_RATE: Final = rate(f"{RPC}_count", "component", f"{HERE}, code=~`{FAULTS}`")

PLATFORM = Board(
    uid="gyre-platform",
    title="Gyre: platform",
    variable=("component", "component", 'up{job="gyre"}'),
    rows=[
        (
            "At a glance",
            [
                Panel("Services up", "Of eight.", [('sum(up{job="gyre"})', "")], width=6, now=True),
                Panel(
                    "Memory", "Resident, all services; without database, broker and workloads.",
                    [('sum(process_resident_memory_bytes{job="gyre"})', "")], "bytes", width=6, now=True,
                ),
                Panel(
                    "Events waiting to be sent", "All outboxes together.",
                    [("sum(gyre_outbox_unsent_events)", "")], width=6, now=True,
                ),
                Panel(
                    "Restarts in the last hour", "Of any service.",
                    [('sum(changes(process_start_time_seconds{job="gyre"}[1h]))', "")], width=6, now=True,
                ),
            ],
        ),
        (
            "Calls (gRPC)",
            [
                Panel("Rate", "Calls a second.", [(rate(f"{RPC}_count", "component", HERE), "{{component}}")], "reqps"),
                Panel(
                    "Faults", "Share of calls that failed by the service's own fault; a caller's mistake is none.",
                    [(f"{FAULT_RATE} / {rate(f'{RPC}_count', 'component', HERE)}", "{{component}}")], "percentunit",
                ),
                Panel(
                    "Duration", "Median, and what one call in a hundred exceeds.",
                    [(quantile(0.5, RPC, "component", HERE), "{{component}} p50"),
                     (quantile(0.99, RPC, "component", HERE), "{{component}} p99")], "s",
                ),
                Panel(
                    "Slowest methods", "By the 95th percentile.",
                    [(f"topk(8, {quantile(0.95, RPC, 'component, method', HERE)})", "{{component}} {{method}}")],
                    "s", width=12,
                ),
                Panel(
                    "Refusals", "Calls that were not answered OK, by code: also a caller's mistakes.",
                    [(rate(f"{RPC}_count", "component, code", f'{HERE}, code!="OK"'), "{{component}} {{code}}")],
                    "reqps", width=12,
                ),
            ],
        ),
        (
            "Events",
            [
                Panel("Outbox", "Facts that Kafka does not have yet.",
                      [(f"gyre_outbox_unsent_events{{{HERE}}}", "{{component}}")]),
                Panel("Consumer lag", "Facts that the service has not handled yet.",
                      [(f"gyre_consumer_lag_events{{{HERE}}}", "{{component}} ← {{topic}}")]),
                Panel("Handled", "applied; known: came twice; dead: set aside.",
                      [(rate("gyre_events_handled_total", "component, outcome", HERE), "{{component}} {{outcome}}")],
                      "ops"),
            ],
        ),
        (
            "Reconcilers",
            [
                Panel("Passes", "A second.",
                      [(rate("gyre_reconcile_duration_seconds_count", "component, reconciler", HERE),
                        "{{component}} {{reconciler}}")], "ops"),
                Panel("Time of a pass", "95th percentile.",
                      [(quantile(0.95, "gyre_reconcile_duration_seconds", "component, reconciler", HERE),
                        "{{component}} {{reconciler}}")], "s"),
                Panel("Failed passes", "A second; each is tried again.",
                      [(rate("gyre_reconcile_errors_total", "component, reconciler", HERE),
                        "{{component}} {{reconciler}}")], "ops"),
            ],
        ),
        (
            "Processes",
            [
                Panel("CPU", "Cores.", [(rate("process_cpu_seconds_total", "component", HERE), "{{component}}")]),
                Panel("Memory by service", "Resident.",
                      [(f"process_resident_memory_bytes{{{HERE}}}", "{{component}}")], "bytes"),
                Panel("Open files", "Against the limit of the process.",
                      [(f"process_open_fds{{{HERE}}} / process_max_fds", "{{component}}")], "percentunit"),
            ],
        ),
    ],
)  # fmt: skip

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


def share_held(what: str) -> str:
    """Of what was present in the last hour; nothing where nothing was."""
    held, present = (f"sum by (flavor) (avg_over_time(gyre_{of}_{what}[1h]))" for of in ("held", "capacity"))
    return f"{held} / ({present} > 0)"


HELD: Final = 'state=~"ADMITTED|STARTING|RUNNING|STOPPING"'

QUEUE = Board(
    uid="gyre-queue",
    title="Gyre: queue and work",
    rows=[
        (
            "At a glance",
            [
                Panel("Waiting", "Workloads in queues; `gyre workloads list` says why each waits.",
                      [('sum(gyre_workloads{state="QUEUED"})', "")], width=8, now=True),
                Panel("Holding resources", "From admission to the confirmed stop: this is what is paid for.",
                      [(f"sum(gyre_workloads{{{HELD}}})", "")], width=8, now=True),
                Panel("Waiting for a stop", "A card is free only when its owner confirmed the stop.",
                      [('sum(gyre_workloads{state="STOPPING"})', "")], width=8, now=True),
            ],
        ),
        (
            "Work",
            [
                Panel("Workloads by state", "Ended ones are not counted.",
                      [("sum by (state) (gyre_workloads)", "{{state}}")], width=12),
                Panel("Held hours a day", "Workload-hours in the last 24 hours. What they cost, by price of core and "
                      "card, is in the console and in `gyre workloads list`.",
                      [(f"sum(avg_over_time(gyre_workloads{{{HELD}}}[24h])) * 24", "hours")], "h", width=12),
            ],
        ),
        (
            "Nodes and cards",
            [
                Panel("Nodes by state", "LOST and GONE are not heard of; CORDONED and DRAINING an operator closed.",
                      [("sum by (state) (gyre_nodes)", "{{state}}")]),
                Panel("Cards by state", "SICK ones were taken out because of a fault.",
                      [("sum by (state) (gyre_cards)", "{{state}}")]),
                Panel("Nodes away", "`gyre nodes list` says since when.",
                      [('sum(gyre_nodes{state=~"LOST|GONE"})', "")], width=4, now=True),
                Panel("Sick cards", "`gyre nodes list` says what is wrong.",
                      [('sum(gyre_cards{state="SICK"})', "")], width=4, now=True),
            ],
        ),
        (
            "Queues: how long, and who gives way",
            [
                Panel("Depth", "Workloads that wait, by queue.",
                      [("sum by (queue) (gyre_queue_waiting_workloads)", "{{queue}}")]),
                Panel("First in its queue", "How long the first of each active queue has waited; above four hours an "
                      "alert says so.", [("max by (queue) (gyre_queue_head_wait_seconds)", "{{queue}}")], "s"),
                Panel("Wait for the first admission", "Median, and what one in twenty exceeds.",
                      [(quantile(0.5, "gyre_workload_wait_seconds", "queue"), "{{queue}} p50"),
                       (quantile(0.95, "gyre_workload_wait_seconds", "queue"), "{{queue}} p95")], "s"),
                Panel("Preemptions", "Attempts an hour that had to give way.",
                      [("sum by (queue) (increase(gyre_preemptions_total[1h]))", "{{queue}}")], width=12),
                Panel("Cost", "What is held now costs so many US dollars an hour, by price of core and card.",
                      [("sum by (flavor) (gyre_held_usd_per_hour)", "{{flavor}}")], "currencyUSD", width=12),
            ],
        ),
        (
            "Capacity",
            [
                Panel("Utilisation of cards", "Held by present, averaged over an hour. Simulated cards count too.",
                      [(share_held("cards"), "{{flavor}}")],
                      "percentunit"),
                Panel("Utilisation of cores", "Held by present, averaged over an hour.",
                      [(share_held("cores"), "{{flavor}}")],
                      "percentunit"),
                Panel("Fragmentation", "Free cards on nodes where the smallest work that waits for cards does not fit.",
                      [("gyre_card_fragmentation_ratio", "share of free cards"),
                       ], "percentunit"),
                Panel("Cards", "Present, held and free.",
                      [("sum(gyre_capacity_cards)", "present"), ("sum(gyre_held_cards)", "held"),
                       ("gyre_free_cards", "free on nodes that take work")], width=12),
                Panel("Spent in the last day", "US dollars, from what was held minute by minute.",
                      [("sum(avg_over_time(gyre_held_usd_per_hour[24h])) * 24", "")], "currencyUSD", width=12,
                      now=True),
            ],
        ),
        (
            "The scheduler",
            [
                Panel("Admission cycles", "Passes of each reconciler, a second.",
                      [(rate("gyre_reconcile_duration_seconds_count", "reconciler", 'component="gpu_scheduler"'),
                        "{{reconciler}}")], "ops"),
                Panel("Time of a cycle", "95th percentile.",
                      [(quantile(0.95, "gyre_reconcile_duration_seconds", "reconciler", 'component="gpu_scheduler"'),
                        "{{reconciler}}")], "s"),
                Panel("Failed cycles", "A second; each is tried again.",
                      [(rate("gyre_reconcile_errors_total", "reconciler", 'component="gpu_scheduler"'),
                        "{{reconciler}}")], "ops"),
            ],
        ),
        (
            "Who asks for work",
            [
                Panel("Calls to the scheduler", "By method, a second.",
                      [(rate(f"{RPC}_count", "method", 'component="gpu_scheduler"'), "{{method}}")], "reqps"),
                Panel("Laps and runs", "Passes of the conductors in training_scheduler, a second.",
                      [(rate("gyre_reconcile_duration_seconds_count", "reconciler",
                             'component="training_scheduler"'), "{{reconciler}}")], "ops"),
                Panel("Alarms of runs", "Since training_scheduler started, by kind and by what was done.",
                      [("sum by (kind, action) (gyre_training_alarms_total)", "{{kind}}: {{action}}")], "short"),
            ],
        ),
    ],
)  # fmt: skip

BOARDS: Final = (PLATFORM, GATEWAY, QUEUE)


def render(board: Board) -> str:
    """The dashboard as Grafana's JSON; the same input gives the same bytes."""
    built = dashboard.Dashboard(board.title).uid(board.uid).tags(["gyre"]).refresh("30s").time("now-1h", "now")
    built = built.timezone("browser").editable()
    if board.variable:
        built = built.with_variable(_variable(*board.variable))
    ids = count(1)
    for title, panels in board.rows:
        built = built.with_row(dashboard.Row(title).id(next(ids)))
        for panel in panels:
            built = built.with_panel((_number(panel) if panel.now else _curve(panel)).id(next(ids)))
    return JSONEncoder(sort_keys=True, indent=1).encode(built.build()) + "\n"


def _variable(name: str, label: str, metric: str) -> dashboard.QueryVariable:
    variable = dashboard.QueryVariable(name).label(name).datasource(DATASOURCE)
    variable = variable.query(f"label_values({metric}, {label})").refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    return variable.multi(True).include_all(True).all_value(".*")


def _curve(panel: Panel) -> timeseries.Panel:
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    built = timeseries.Panel().legend(legend.show_legend(True)).fill_opacity(8).line_width(1)
    return _filled(built, panel, height=8)


def _number(panel: Panel) -> stat.Panel:
    return _filled(stat.Panel(), panel, height=4)


def _filled(built: Any, panel: Panel, height: int) -> Any:
    built = built.title(panel.title).description(panel.description).unit(panel.unit).datasource(DATASOURCE)
    for index, (expression, legend) in enumerate(panel.queries):
        query = prometheus.Dataquery().expr(expression).ref_id(chr(ord("A") + index)).datasource(DATASOURCE)
        built = built.with_target(query.legend_format(legend).instant() if panel.now else query.legend_format(legend))
    return built.span(panel.width).height(height)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for board in BOARDS:
        path = FOLDER / f"{board.uid}.json"
        path.write_text(render(board), encoding="utf-8")
        sys.stdout.write(f"wrote {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}\n")


if __name__ == "__main__":
    main()
