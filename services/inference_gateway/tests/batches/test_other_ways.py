"""Batches over data set versions, by the command line, by other clients, and by a fuzzer."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from gyre_sdk.cli.base import Exit
from gyre_sdk.cli.root import run
from gyre_sdk.resources.data import holdouts

from services.inference_gateway.proxy import openapi
from services.inference_gateway.proxy.tests.test_openapi import CHECKS
from services.inference_gateway.proxy.tests.test_other_clients import NODE, NPM, output_of
from services.inference_gateway.tests.batches.gateway import (
    Gyre,
    line,
    sdk_of,
)

ROWS = [
    [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "1"},
    ],
    [{"role": "user", "content": "refused"}, {"role": "assistant", "content": "2"}],
    [{"role": "user", "content": "three"}, {"role": "assistant", "content": "3"}],
]


@pytest.fixture(scope="module")
async def hotline(running: Gyre, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A data set version of those rows."""
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text("".join(json.dumps({"messages": messages}) + "\n" for messages in ROWS))

    def imported() -> str:
        with sdk_of(running) as sdk:
            source = sdk.datasets.import_file(path, "hotline", split=holdouts({}, test_fraction=0.0))
            return str(sdk.datasets.wait_version(source.name, 60).name)

    return await asyncio.to_thread(imported)


async def test_a_data_set_version_is_answered_into_a_new_one(gyre: Gyre, hotline: str) -> None:
    version = "projects/default/models/mock/versions/2"
    await gyre.sql("UPDATE target SET model_version = :version", version=version)

    def ask() -> tuple[Any, list[Any], Any]:
        with sdk_of(gyre) as sdk:
            made = sdk.inference_batches.create(hotline, "mock", system="Be brief.", max_tokens=9, temperature=0.5)
            done = sdk.inference_batches.wait(made.name, 60)
            assert done.name in [each.name for each in sdk.inference_batches.list(filter="state=COMPLETED")]
            assert sdk.inference_batches.find(str(done.number)).name == done.name
            return done, list(sdk.datasets.rows(done.result_version)), sdk.datasets.version(done.result_version)

    done, rows, result = await asyncio.to_thread(ask)
    assert (done.total_count, done.completed_count, done.failed_count) == (3, 2, 1)
    assert done.result_version == "projects/default/datasets/hotline-answers/versions/1"
    assert list(result.derived_from) == [done.source_version, version]
    said = sorted([(each.role, each.content) for each in row.messages] for row in rows)
    brief = ("system", "Be brief.")
    assert said == [
        [brief, ("user", "one"), ("assistant", "answer to one")],
        [brief, ("user", "three"), ("assistant", "answer to three")],
    ]
    assert {json.loads(row.meta_json)["expected"] for row in rows} == {"1", "3"}
    assert set(gyre.engine.asked) == {"one", "three", "refused"}
    keys = (await gyre.rest.get("/spending")).json()["keys"]
    assert done.created_by in [each["name"] for each in keys if int(each["tokens"]) >= 10], "the key that asked pays"
    shown = await gyre.client.batches.retrieve(done.name.rsplit("/", 1)[-1])
    assert shown.status == "completed" and len(await gyre.lines(shown.output_file_id)) == 2


async def test_the_command_line_starts_follows_and_stops_batches(
    gyre: Gyre, hotline: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GYRE_URL", f"http://127.0.0.1:{gyre.platform.settings().console_port}")
    monkeypatch.setenv("GYRE_API_KEY", gyre.client.api_key)

    async def gyre_(*arguments: str) -> tuple[int, Any]:
        code = await asyncio.to_thread(run, ["batches", *arguments, "--json"])
        said = capsys.readouterr()
        return code, json.loads(said.out or said.err)

    create = ("create", "--dataset", "hotline@1", "--into", "from-the-shell")
    code, made = await gyre_(*create, "--model", "mock", "--max-tokens", "5")
    assert code == Exit.OK and made["state"] == "STATE_COMPLETED" and made["max_tokens"] == 5
    assert made["result_version"] == "projects/default/datasets/from-the-shell/versions/1"
    number = str(made["number"])
    assert (await gyre_("show", number))[1] == made
    code, listed = await gyre_("list", "--filter", "source_version=" + hotline)
    assert code == Exit.OK and listed["inference_batches"][0] == made
    assert (await gyre_("cancel", number))[1]["error"]["reason"] == "ALREADY_ENDED"
    assert (await gyre_("wait", number))[0] == Exit.OK
    assert (await gyre_(*create, "--model", "nobody"))[0] == Exit.NOT_FOUND
    assert (await gyre_("show", "batch_0"))[0] == Exit.NOT_FOUND
    broken = await gyre.client.files.create(file=("in.jsonl", b"{"), purpose="batch")
    failed = await gyre.ended(await gyre.of_file(broken.id))
    code, said = await gyre_("wait", failed.id)
    assert code == Exit.FAILURE and said["error"]["reason"] == "INVALID_LINES"


async def test_schemathesis_finds_no_5xx_in_files_and_batches(gyre: Gyre, tmp_path: Path) -> None:
    document = openapi.document()
    asked = document["components"]["schemas"]["BatchRequest"]["properties"]
    asked["input_file_id"] = {"enum": [await gyre.upload("one"), "file-0"]}
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "schemathesis"), "run", "openapi.json",
        "--url", f"http://127.0.0.1:{gyre.platform.settings().openai_port}",
        "--header", f"Authorization: Bearer {gyre.client.api_key}", "--checks", CHECKS,
        "--include-path-regex", "^/v1/(files|batches)", "--phases", "coverage,fuzzing", "--max-examples", "8",
        "--seed", "1", "--generation-database", "none", "--continue-on-failure", "--suppress-health-check", "all",
        cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        said, _ = await asyncio.wait_for(process.communicate(), 120)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, said.decode()[-6000:]
    assert (await gyre.client.batches.list()).data  # some of what was sent made sense


async def test_the_node_client_sends_a_file_and_follows_its_batch(gyre: Gyre, tmp_path: Path) -> None:
    folder = tmp_path / "node"
    shutil.copytree(NODE, folder)
    (folder / "in.jsonl").write_bytes(line("a", "one") + line("b", "refused"))
    status, said = await output_of(sys.executable, str(NPM), "ci", "--prefix", str(folder), cwd=folder)
    assert status == 0, said
    ports = gyre.platform.settings()
    address = {"OPENAI_BASE_URL": f"http://127.0.0.1:{ports.openai_port}/v1", "OPENAI_API_KEY": gyre.client.api_key}
    command = (sys.executable, str(NPM), "run", "--silent", "batch", "--prefix", str(folder))
    status, said = await output_of(*command, cwd=folder, **address)
    assert status == 0, said
    found = json.loads(said.splitlines()[-1])
    assert found["status"] == "completed" and found["counts"] == {"total": 2, "completed": 1, "failed": 1}
    assert found["answers"] == {"a": "answer to one"} and found["wrong"] == ["b"]
    assert found["listed"] and found["deleted"]
