"""The command line: what it prints, and how it exits."""

from __future__ import annotations

import asyncio
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from gyre_kit.testing import Platform
from gyre_sdk.cli.base import Exit
from gyre_sdk.cli.root import COMMANDS, cli, run
from gyre_sdk.config import load
from gyre_sdk.errors import GyreError
from gyre_sdk.tests.conftest import rest_url
from gyre_sdk.transport import Transport

HEAVY = ("grpc", "google.protobuf", "httpx", "rich", "pydantic", "torch")


@pytest.fixture
def connected(served: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GYRE_URL", rest_url(served))
    monkeypatch.setenv("GYRE_API_KEY", (served.home / "admin.key").read_text())


async def gyre(*arguments: str) -> int:
    return await asyncio.to_thread(run, list(arguments))


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys; from gyre_sdk.cli.root import run; code = run(['--help']);"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "Exit codes:" in done.stdout


def all_commands(group: click.Group, prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*prefix, name), command
        if isinstance(command, click.Group):
            yield from all_commands(command, (*prefix, name))


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    found = dict(all_commands(cli))
    assert set(COMMANDS) <= {path[0] for path in found}
    for path, command in found.items():
        assert command.help, path
        assert run([*path, "--help"]) == Exit.OK, path
    capsys.readouterr()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == Exit.OK
    assert "_GYRE_COMPLETE" in capsys.readouterr().out


def test_a_wrong_command_line_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["runs", "start"]) == Exit.USAGE
    assert "--base" in capsys.readouterr().err
    assert run(["no-such-command"]) == Exit.USAGE
    for source in (
        [],
        ["hf://a/b", "--from", "modelscope:a/b"],
        ["--from", "elsewhere:a/b"],
        ["--from", "modelscope:b"],
    ):
        assert run(["models", "import", *source]) == Exit.USAGE
    assert run(["projects", "update", "default"]) == Exit.USAGE


def test_nobody_there_exits_5_and_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GYRE_URL", "http://127.0.0.1:1")
    assert run(["datasets", "list"]) == Exit.UNAVAILABLE
    assert "gyre up" in capsys.readouterr().err
    assert run(["datasets", "list", "--json"]) == Exit.UNAVAILABLE
    assert json.loads(capsys.readouterr().err)["error"]["reason"] == "UNREACHABLE"


def test_status_of_a_platform_that_is_down_names_the_eight_and_exits_5(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GYRE_DATABASE_URL", "")
    assert run(["--home", str(tmp_path / "nothing"), "status", "--json"]) == Exit.UNAVAILABLE
    report = json.loads(capsys.readouterr().out)
    assert report["state"] == "DOWN" and len(report["services"]) == 8
    assert {part["health"] for part in [*report["services"], report["postgres"], report["broker"]]} == {"DOWN"}
    assert run(["down"]) == Exit.OK
    assert "Nothing was running" in capsys.readouterr().out


def test_the_doctor_examines_without_changing_anything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GYRE_HOME", str(tmp_path / "home"))
    run(["doctor", "--json"])
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["PostgreSQL"]["verdict"] == checks["Broker"]["verdict"] == "ok"
    assert {"Python", "Memory", "Disk", "Home", "Ports"} <= set(checks)
    assert not (tmp_path / "home").exists()


def test_the_doctor_finds_a_key_that_others_can_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GYRE_HOME", str(tmp_path))
    (tmp_path / "admin.key").write_text("secret")
    (tmp_path / "admin.key").chmod(0o644)
    assert run(["doctor", "--json"]) == Exit.FAILURE
    home = next(check for check in json.loads(capsys.readouterr().out)["checks"] if check["name"] == "Home")
    assert home["verdict"] == "problem" and home["remedy"].startswith("chmod go-rwx")


@pytest.mark.usefixtures("connected")
async def test_import_shows_counts_refusals_and_the_next_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"prompt": f"How many? {n * 7919}", "completion": f"{n * 31337} of them"} for n in range(10)]
    file = tmp_path / "Counts demo.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)) + '\n{"prompt": 1}\n')
    assert await gyre("datasets", "import", str(file), "--licence", "CC0-1.0") == Exit.OK
    printed = capsys.readouterr().out
    assert "counts-demo@1 is ready: 8 rows to train on, 2 held out" in printed
    assert "1 rows were refused" in printed and "gyre runs start --data counts-demo@1" in printed

    assert await gyre("datasets", "list", "--json") == Exit.OK
    listed = json.loads(capsys.readouterr().out)
    assert "counts-demo" in {item["name"].rsplit("/", 1)[-1] for item in listed["datasets"]}
    assert await gyre("datasets", "list", "-n", "1") == Exit.OK
    assert await gyre("datasets", "rows", "counts-demo@1", "-n", "1") == Exit.OK
    assert "user: How many?" in capsys.readouterr().out


@pytest.mark.usefixtures("connected")
async def test_what_is_not_there_exits_3(capsys: pytest.CaptureFixture[str]) -> None:
    assert await gyre("datasets", "show", "nothing") == Exit.NOT_FOUND
    assert await gyre("feedback", "show", "4711") == Exit.NOT_FOUND
    assert "Error:" in capsys.readouterr().err


@pytest.mark.usefixtures("connected")
async def test_a_new_key_is_alone_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert await gyre("keys", "create", "--role", "viewer", "--title", "app") == Exit.OK
    printed = capsys.readouterr()
    assert printed.out.startswith("gyre-") and len(printed.out.split()) == 1
    assert "gyre keys revoke" in printed.err


@pytest.mark.usefixtures("connected")
async def test_json_stands_before_or_after_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert await gyre("--json", "projects", "list") == Exit.OK
    first = json.loads(capsys.readouterr().out)
    assert await gyre("projects", "list", "--json") == Exit.OK
    assert json.loads(capsys.readouterr().out) == first


class Refusing(http.server.BaseHTTPRequestHandler):
    """Answers the first requests 503, then with an empty object; or always with a gate's refusal."""

    refusals, asked = 0, 0

    def do_GET(self) -> None:
        type(self).asked += 1
        self._answer(503 if self.asked <= self.refusals else 200, {})

    def do_POST(self) -> None:
        type(self).asked += 1
        problem = {"reason": "VERDICT_REQUIRED", "detail": "The alias is gated.", "metadata": {}}
        self._answer(412, problem)

    def _answer(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def refusing() -> Iterator[str]:
    Refusing.asked = 0
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_reading_outlasts_a_service_that_restarts(refusing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Refusing, "refusals", 2)
    assert Transport(load(url=refusing)).call("GET", "/nodes") == {}
    assert Refusing.asked == 3


def test_a_write_without_a_request_id_is_not_repeated(refusing: str) -> None:
    with pytest.raises(GyreError):
        Transport(load(url=refusing)).call("POST", "/x", body={})
    assert Refusing.asked == 1


def test_a_gates_refusal_exits_4(refusing: str, capsys: pytest.CaptureFixture[str]) -> None:
    version = "projects/default/models/bot/versions/2"
    assert run(["--url", refusing, "models", "alias", "production", version]) == Exit.REFUSED
    assert "The alias is gated." in capsys.readouterr().err
