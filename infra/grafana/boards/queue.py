"""Work, queues, nodes and cards: depth, wait, use, fragments, preemptions, cost."""

from __future__ import annotations

from typing import Final

from infra.grafana.boards.panels import RPC, Board, Panel, quantile, rate


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
