"""The dashboards follow from their code, name only metrics that exist, and a real Prometheus answers every panel."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import yaml
from gyre_kit.telemetry import Metrics
from prometheus_client import CollectorRegistry

from infra.grafana import dashboards
from services.gpu_scheduler.accounting.metrics import Gauges as AccountingGauges
from services.gpu_scheduler.metrics import FleetGauges, Gauges
from services.inference_gateway.gauges import Gauges as GatewayGauges
from services.inference_gateway.proxy.metrics import Metrics as ProxyMetrics
from services.inference_gateway.proxy.settings import ProxySettings
from services.inference_gateway.proxy.shipper import Shipper
from services.training_scheduler.metrics import Counters
from tests.conftest import Running
from tests.infra.conftest import PROMETHEUS, ROOT, Prometheus, eventually

GRAFANA = ROOT / "infra" / "grafana"
OURS = re.compile(r"\b(?:gyre|gen_ai)_[a-z_]+")
NO_METRICS = re.compile(r"\bby \([^)]*\)|\{[^}]*\}|\b\w+:[\w:]+")  # labels, and what the rules record

# A fresh platform has served no model, failed in nothing and handled no event: these may be empty, nothing else.
MAY_BE_EMPTY = {
    "Faults", "Refusals", "Handled", "Failed passes", "Failed cycles", "Running", "Completions", "Whole answer",
    "Time to first token", "Inter-token latency", "Tokens a second", "Tokens by project", "Versions that answered",
    "Waiting for a turn", "Errors by cause", "Cache hits", "Ready targets", "Cost", "Budgets used",
    "Failed attempts", "Connections to engines", "Kept", "Calls to the scheduler",
    "Shadows", "Fallbacks", "Prompts that left", "Stood back",
    "Found by guardrails", "Hooks", "Answered from the exact cache", "Tokens of shadows", "Adapters", "Asleep and waking",
    "Depth", "First in its queue", "Alarms of runs", "Wait for the first admission", "Preemptions", "Utilisation of cards",
}  # fmt: skip


def boards() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((GRAFANA / "dashboards").glob("*.json"))]


def panels() -> Iterator[tuple[str, str]]:
    """Title and query, Grafana's variables filled in as it does for `All` and a short range."""
    for board in boards():
        for panel in board["panels"]:
            for target in panel.get("targets") or []:
                yield panel["title"], target["expr"].replace("$__rate_interval", "10s").replace("[1h]", "[1m]")


def filled(expression: str) -> str:
    return re.sub(r"\$\w+", ".*", expression)


def exported_names(tmp_path: Path) -> set[str]:
    """Every name under which the code exports a sample."""
    gateway, scheduler, training = CollectorRegistry(), CollectorRegistry(), CollectorRegistry()
    Counters(training)
    Gauges(scheduler)
    FleetGauges(scheduler)
    AccountingGauges(scheduler)
    GatewayGauges(gateway)
    Shipper(tmp_path, tmp_path, _nobody, ProxySettings(), gateway)
    registries = [Metrics("any").registry, ProxyMetrics().registry, gateway, scheduler, training]
    names: set[str] = set()
    for registry in registries:
        names |= set(registry._names_to_collectors)  # the library has no public list of what a histogram exports
    return names


async def _nobody(_: Any) -> None:
    raise AssertionError("nothing is shipped here")


def test_the_committed_dashboards_are_what_the_code_makes() -> None:
    made = {f"{board.uid}.json": dashboards.render(board) for board in dashboards.BOARDS}
    assert made == {path.name: path.read_text() for path in (GRAFANA / "dashboards").glob("*.json")}, (
        "run: python -m infra.grafana.dashboards"
    )


def test_dashboards_and_rules_name_only_metrics_that_the_code_exports(tmp_path: Path) -> None:
    rules = [
        rule["expr"]
        for path in (PROMETHEUS / "rules").glob("*.yml")
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]
    expressions = [expression for _, expression in panels()] + rules
    used = {name for each in expressions for name in OURS.findall(NO_METRICS.sub("", each))}
    assert used
    assert used - exported_names(tmp_path) == set()


def test_every_panel_has_a_provisioned_source_a_description_and_a_place_of_its_own() -> None:
    source = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"][0]
    for board in boards():
        places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
        assert len(set(places)) == len(places)
        for panel in board["panels"]:
            if panel["type"] != "row":
                assert panel["datasource"]["uid"] == source["uid"] and panel["description"]


def test_a_real_prometheus_answers_every_panel(running: Running, prometheus: Prometheus) -> None:
    headers = {"authorization": f"Bearer {running.admin_key}"}
    with httpx.Client(headers=headers) as http:  # something to show: calls by way of REST, and the OpenAI endpoint
        for _ in range(3):
            http.get(f"{running.rest_url}/api/v1/projects/default/datasets").raise_for_status()
            http.get(f"{running.openai_url}/models").raise_for_status()
    expressions = [(title, filled(expression)) for title, expression in panels()]
    for _, expression in expressions:
        prometheus.query(expression)
    always = [(title, expression) for title, expression in expressions if title not in MAY_BE_EMPTY]

    def empty() -> list[str]:
        return [title for title, expression in always if not prometheus.query(expression)]

    assert eventually(lambda: not empty()), f"no data for {empty()}"


def test_no_alert_fires_on_a_healthy_platform(prometheus: Prometheus) -> None:
    assert eventually(lambda: bool(prometheus.query("component:gyre_rpc_server_requests:rate5m")))
    assert prometheus.query('ALERTS{alertstate="firing"}') == []
