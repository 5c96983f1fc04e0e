"""What can be said of the containers without running them: names, files, settings, users. See docs/how-to."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

import pytest
import yaml
from gyre_kit.addresses import COMPONENTS
from gyre_kit.settings import KitSettings

from services.inference_gateway.proxy.settings import ProxySettings
from tests.infra.conftest import ROOT

DEPLOY = ROOT / "deploy"
KNOWN_ELSEWHERE = {"GYRE_PROMETHEUS_URL"}  # read by Grafana's provisioning


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return parsed["services"]


def test_each_service_is_one_container_of_its_own_name(services: dict[str, Any]) -> None:
    ours = {name: each["command"][0] for name, each in services.items() if "services." in str(each.get("command"))}
    assert ours == {component.replace("_", "-"): f"services.{component}.main" for component in COMPONENTS}
    for module in ours.values():
        assert import_module(module).app


def test_everything_that_a_container_waits_for_is_there(services: dict[str, Any]) -> None:
    for each in services.values():
        for name, how in (each.get("depends_on") or {}).items():
            assert how["condition"] != "service_healthy" or "healthcheck" in services[name]


def test_every_mounted_file_exists_and_nothing_listens_beyond_loopback(services: dict[str, Any]) -> None:
    for each in services.values():
        for volume in each.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (DEPLOY / source).exists(), volume
        assert all(port.startswith("127.0.0.1:") for port in each.get("ports", []))


def test_every_setting_is_one_that_the_code_reads(services: dict[str, Any]) -> None:
    known = {f"GYRE_{name.upper()}" for name in KitSettings.model_fields}
    known |= {f"GYRE_PROXY_{name.upper()}" for name in ProxySettings.model_fields}
    for component in COMPONENTS:
        known |= {
            f"GYRE_{name.upper()}" for name in import_module(f"services.{component}.settings").Settings.model_fields
        }
    given = {name for each in services.values() for name in each.get("environment", {}) if name.startswith("GYRE_")}
    assert given - known - KNOWN_ELSEWHERE == set()


def test_every_secret_is_asked_for_and_none_has_a_default() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    wanted = {line.split("=")[0] for line in (DEPLOY / "env.example").read_text().splitlines() if "=" in line}
    assert set(re.findall(r"(?<!\$)\$\{(\w+):\?", text)) == wanted
    assert not re.search(r"\$\{\w+:?-", text)


def test_the_images_run_as_no_root_and_copy_what_is_there() -> None:
    stages = (DEPLOY / "Dockerfile").read_text().split("\nFROM ")
    for stage in stages:
        if " AS service\n" in stage or " AS worker\n" in stage:
            assert "\nUSER gyre\n" in stage
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", stage, re.MULTILINE):
            assert all((ROOT / source).exists() for source in line.split()), line
