"""Prometheus' own tool accepts the configuration, and the alerts fire when they should and only then."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml
from gyre_kit.addresses import COMPONENTS, METRICS_PORTS

from tests.infra.conftest import PROMETHEUS, ROOT, tool


def promtool(*arguments: str | Path) -> str:
    done = subprocess.run([tool("promtool"), *arguments], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_accepts_the_configuration_and_the_rules() -> None:
    assert "SUCCESS" in promtool("check", "config", PROMETHEUS / "prometheus.yml")
    promtool("check", "rules", *sorted((PROMETHEUS / "rules").glob("*.yml")))


def test_each_alert_behaves_as_its_unit_tests_say() -> None:
    promtool("test", "rules", *sorted((PROMETHEUS / "tests").glob("*.yml")))


def test_each_alert_has_a_unit_test_a_severity_and_says_what_to_do() -> None:
    tested = "".join(path.read_text() for path in (PROMETHEUS / "tests").glob("*.yml"))
    for path in (PROMETHEUS / "rules").glob("*.yml"):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in (rule for rule in group["rules"] if "alert" in rule):
                assert f"alertname: {rule['alert']}\n" in tested, f"{rule['alert']} has no unit test"
                assert rule["labels"]["severity"] in ("warning", "critical")
                assert rule["annotations"].keys() == {"summary", "action"}


def test_both_lists_of_targets_name_the_eight_services_at_their_ports() -> None:
    for path in (PROMETHEUS / "targets" / "local.yml", ROOT / "deploy" / "compose" / "targets.yml"):
        groups = yaml.safe_load(path.read_text())
        assert [group["labels"]["component"] for group in groups] == list(COMPONENTS)
        for group in groups:
            assert group["targets"][0].endswith(f":{METRICS_PORTS[group['labels']['component']]}")
