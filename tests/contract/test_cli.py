"""The command line beside a running platform, as people and scripts meet it: each call a process of its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
from click.testing import CliRunner
from gyre_kit.addresses import COMPONENTS, GRPC_PORTS
from gyre_sdk.cli.root import cli

from tests.chaos.harness import until
from tests.conftest import GYRE, Running

LISTS = {
    "datasets": "datasets",
    "runs": "runs",
    "pipelines": "pipelines",
    "models": "models",
    "evals": "evaluations",
    "deployments": "deployments",
    "experiments": "experiments",
    "batches": "inference_batches",
    "traces": "traces",
    "prompts": "prompts",
    "feedback": "feedback",
    "queues": "queues",
    "cluster-queues": "cluster_queues",
    "cohorts": "cohorts",
    "priority-classes": "priority_classes",
    "nodes": "nodes",
    "cards": "card_models",
    "flavors": "flavors",
    "workloads": "workloads",
    "projects": "projects",
    "keys": "keys",
}
NOT_FOUND, FAILURE = 3, 1  # as docs/reference/cli.md has it


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every command, groups too."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


@pytest.fixture(scope="module")
def project(running: Running, lived: str) -> Running:
    """The platform, asked about a project in which there is something of most kinds."""
    return replace(running, environment=running.environment | {"GYRE_PROJECT": lived})


@pytest.mark.parametrize("path", list(commands(cli)), ids=" ".join)
def test_every_command_says_what_it_does(path: tuple[str, ...]) -> None:
    done = CliRunner().invoke(cli, [*path, "--help"])
    assert done.exit_code == 0
    usage, _, rest = done.output.partition("\n\n")
    assert usage.startswith(f"Usage: cli {' '.join(path)}")
    described = rest.split("Options:")[0].split("Commands:")[0].strip()
    assert len(described.split()) >= 3, done.output


@pytest.mark.parametrize("group", LISTS)
def test_a_list_is_a_table_for_people_and_json_for_programs(project: Running, group: str) -> None:
    table, listed = project.command(group, "list"), project.command(group, "list", "--json")
    assert (table.returncode, listed.returncode, table.stderr, listed.stderr) == (0, 0, "", "")
    answer = json.loads(listed.stdout)
    items = answer[LISTS[group]]
    assert answer["total_size"] == len(items)
    assert all(item["name"] for item in items)
    lines = table.stdout.splitlines()
    if items:
        titles, *rows = lines
        assert titles == titles.upper() and len(rows) == len(items)
    else:
        assert lines == [f"No {LISTS[group].replace('_', ' ')}."]


def test_the_lists_above_are_those_of_all_groups() -> None:
    assert {path[0] for path in commands(cli) if path[1:] == ("list",)} == set(LISTS)


@pytest.mark.parametrize("group", ["datasets", "models", "runs", "deployments"])
def test_what_does_not_exist_exits_3_with_a_remedy_and_prints_nothing(project: Running, group: str) -> None:
    done = project.command(group, "show", "no-such-thing")
    assert (done.returncode, done.stdout) == (NOT_FOUND, "")
    assert done.stderr.startswith("Error: ") and "no-such-thing" in done.stderr
    assert f"`gyre {group} list` shows" in done.stderr


def test_programs_get_errors_as_json_too(project: Running) -> None:
    done = project.command("models", "show", "no-such-thing", "--json")
    assert (done.returncode, done.stdout) == (NOT_FOUND, "")
    error = json.loads(done.stderr)["error"]
    assert (error["status"], error["reason"]) == (404, "NOT_FOUND")
    assert "no-such-thing" in error["message"] and "gyre models list" in error["remedy"]


def test_a_wrong_key_fails_with_a_remedy(project: Running) -> None:
    outside = replace(project, environment=project.environment | {"GYRE_API_KEY": "gyre-wrong"})
    done = outside.command("datasets", "list")
    assert (done.returncode, done.stdout) == (FAILURE, "")
    assert "not known or was revoked" in done.stderr and "GYRE_API_KEY" in done.stderr


def test_status_lists_the_eight_with_health_version_addresses_and_memory(running: Running) -> None:
    done = running.command("status", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert [service["name"] for service in report["services"]] == list(COMPONENTS)
    for service in report["services"]:
        assert service["health"] == "SERVING" and service["version"] and service["memory_bytes"] > 1_000_000
        grpc, metrics = service["addresses"]["grpc"], service["addresses"]["metrics"]
        assert grpc.endswith(f":{GRPC_PORTS[service['name']] + running.port_offset}")
        assert httpx.get(metrics).status_code == 200, metrics


def test_events_follow_what_happens_and_leave_when_told(project: Running, lived: str) -> None:
    command = [GYRE, "events", "--type", "KeyChanged", "-n", "1", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=project.environment) as following:
        made: list[str] = []

        def has_left() -> bool:
            """Only what happens after it listens is heard: so something happens until it has."""
            made.append(project.client(lived).keys.create("VIEWER", "heard").name)
            return following.poll() is not None

        until(has_left, "the event is printed", seconds=60)
        assert following.stdout is not None and following.returncode == 0
        event: dict[str, Any] = json.loads(following.stdout.read())
    assert event["type"] == "gyre.api_gateway.v1.KeyChanged"
    assert event["subject"] in made and event["data"]["name"] == event["subject"]


def test_the_shell_completes_commands_and_names(project: Running, tmp_path: Path) -> None:
    for shell in ("zsh", "fish"):
        assert "_GYRE_COMPLETE" in project.command("completion", shell).stdout
    script = tmp_path / "gyre.bash"
    script.write_text(project.command("completion", "bash").stdout)
    assert _completed(project, script, "gyre", "datas") == ["datasets"]
    assert _completed(project, script, "gyre", "datasets", "show", "peo") == ["people"]


def _completed(project: Running, script: Path, *words: str) -> list[str]:
    """What a real bash would offer for the last word."""
    typed = " ".join(words)
    lines = f"""
        source {script}; PATH={GYRE.parent}:$PATH
        COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}
        _gyre_completion gyre; printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-c", lines], check=True, capture_output=True, text=True, env=project.environment, timeout=120
    )
    return done.stdout.split()
