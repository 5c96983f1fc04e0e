"""All services alike: calls, events, reconcilers, processes."""

from __future__ import annotations

from typing import Final

from infra.grafana.boards.panels import RPC, Board, Panel, quantile, rate

FAULTS: Final = "INTERNAL|UNKNOWN|UNAVAILABLE|DATA_LOSS|DEADLINE_EXCEEDED"
HERE: Final = 'component=~"$component"'
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
