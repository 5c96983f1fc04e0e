"""Files and batches, as the unmodified `openai` client sees them: a gateway in a process of its own, that can be killed,
and an engine that counts what it is asked.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest
import sqlalchemy as sa
from aiohttp import web
from gyre_kit import migrate
from gyre_kit.testing import Platform, eventually, new_platform
from gyre_sdk import Gyre as Sdk
from gyre_sdk.cli.base import Exit
from gyre_sdk.cli.root import run
from gyre_sdk.resources.data import holdouts
from sqlalchemy.ext.asyncio import create_async_engine

from services.api_gateway import main as api_gateway
from services.api_gateway.settings import Settings as ApiGatewaySettings
from services.dataset import main as dataset
from services.dataset.settings import Settings as DatasetSettings
from services.inference_gateway.proxy import openapi
from services.inference_gateway.proxy.tests.test_openapi import CHECKS
from services.inference_gateway.proxy.tests.test_other_clients import NODE, NPM, output_of
from services.inference_gateway.proxy.tests.upstreams import reply

COMPONENTS = ("api_gateway", "dataset", "inference_gateway")
ENDPOINT = "/v1/chat/completions"
ENGINEER = {"role": "ROLE_ENGINEER"}
ENDED = ("completed", "failed", "cancelled", "expired")


@dataclass
class Engine:
    """Answers `answer to <prompt>`. `asked` counts prompts, `answered` what went out whole; a prompt may name a
    misfortune: `slow` waits until `go`, `refused` is wrong, `flaky` fails once."""

    asked: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    order: list[str] = field(default_factory=list)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    async def models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "mock", "object": "model"}]})

    async def chat(self, request: web.Request) -> web.Response:
        prompt = (await request.json())["messages"][-1]["content"]
        self.asked[prompt] += 1
        self.order.append(prompt)
        if prompt.startswith("slow"):
            await self.go.wait()
        if prompt.startswith("refused"):
            return web.json_response({"error": {"message": "no such thing", "code": "bad_thing"}}, status=400)
        if prompt.startswith("flaky") and self.asked[prompt] == 1:
            return web.json_response({"error": {"message": "broke"}}, status=500)
        self.answered[prompt] += 1
        return web.json_response(reply(f"answer to {prompt}"))


@asynccontextmanager
async def serving(engine: Engine) -> AsyncIterator[None]:
    app = web.Application()
    app.router.add_get("/v1/models", engine.models)
    app.router.add_post(ENDPOINT, engine.chat)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    engine.port = site._server.sockets[0].getsockname()[1]
    yield
    await runner.cleanup()


@dataclass
class Gyre:
    """A platform of three services, one of which is a process of its own."""

    platform: Platform
    engine: Engine
    client: openai.AsyncOpenAI
    rest: httpx.AsyncClient
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "GYRE_BATCH_CONCURRENCY": "4"}
        command = (sys.executable, "-m", "services.inference_gateway.main")
        log = (self.platform.home / "logs" / "gateway.log").open("ab")
        self.process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=log, stderr=log)
        await eventually(self.serves, seconds=60)

    async def serves(self) -> bool:
        assert self.process is not None
        log = self.platform.home / "logs" / "gateway.log"
        assert self.process.returncode is None, log.read_text()[-2000:]
        try:
            async with httpx.AsyncClient() as http:
                url = f"http://127.0.0.1:{self.platform.settings().openai_port}/health"
                return (await http.get(url)).status_code == 200
        except httpx.TransportError:
            return False

    async def waiting(self, count: int) -> bool:
        """Whether so many requests wait for a place at the engine, as the gateway's own metrics have it."""
        async with httpx.AsyncClient() as http:
            port = self.platform.settings().metrics_port("inference_gateway")
            shown = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
        lines = [each for each in shown.splitlines() if each.startswith("gyre_gateway_requests_waiting{")]
        return sum(float(each.rsplit(" ", 1)[1]) for each in lines) == count

    async def kill(self, *, control_plane: bool) -> None:
        """With SIGKILL: the control plane, with whom its workers go, or a worker alone."""
        assert self.process is not None
        worker = next(
            each for each in psutil.Process(self.process.pid).children() if "proxy.worker" in str(each.cmdline())
        )
        os.kill(self.process.pid if control_plane else worker.pid, signal.SIGKILL)
        if control_plane:
            await self.process.wait()

    async def upload(self, *prompts: str, client: openai.AsyncOpenAI | None = None, **body: Any) -> str:
        content = b"".join(line(f"id-{number}", prompt, **body) for number, prompt in enumerate(prompts, 1))
        file = await (client or self.client).files.create(file=("in.jsonl", content), purpose="batch")
        return file.id

    async def batch(self, *prompts: str) -> Any:
        return await self.of_file(await self.upload(*prompts))

    async def of_file(self, file_id: str, **options: Any) -> Any:
        given = {"input_file_id": file_id, "endpoint": ENDPOINT, "completion_window": "24h"} | options
        return await self.client.batches.create(**given)

    async def ended(self, batch: Any, seconds: float = 60) -> Any:
        patient = self.client.with_options(max_retries=3)  # a worker that is killed takes its connections along

        async def look() -> Any:
            found = await patient.batches.retrieve(batch.id)
            return found if found.status in ENDED else None

        return await eventually(look, seconds)

    async def lines(self, file_id: str | None) -> dict[str, Any]:
        """By custom_id; each comes once."""
        if not file_id:
            return {}
        content = await self.client.files.content(file_id)
        found = [json.loads(each) for each in content.text.splitlines()]
        assert len({each["custom_id"] for each in found}) == len(found)
        return {each["custom_id"]: each for each in found}

    async def sql(self, statement: str, **given: Any) -> None:
        engine = create_async_engine(self.platform.settings().database_url_of("inference_gateway"))
        async with engine.begin() as connection:
            await connection.execute(sa.text("SELECT set_config('gyre.project', '*', true)"))
            await connection.execute(sa.text(statement), given)
        await engine.dispose()


def line(custom_id: str, prompt: str, **body: Any) -> bytes:
    fields = {"model": "mock", "messages": [{"role": "user", "content": prompt}]} | body
    return (json.dumps({"custom_id": custom_id, "method": "POST", "url": ENDPOINT, "body": fields}) + "\n").encode()


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    """Of its own: a gateway that is a process of its own shares neither ports nor rows with other tests."""
    with new_platform() as started:
        yield started


@pytest.fixture(scope="module")
async def running(platform: Platform) -> AsyncIterator[Gyre]:
    await _fresh(platform)
    apps = [
        replace(api_gateway.app, settings=platform.settings(ApiGatewaySettings)),
        replace(dataset.app, settings=platform.settings(DatasetSettings)),
    ]
    engine = Engine()
    async with serving(engine), platform.serving(*apps):
        key, ports = (platform.home / "admin.key").read_text(), platform.settings()
        async with (
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{ports.console_port}/api/v1/projects/default",
                headers={"authorization": f"Bearer {key}"},
                timeout=20,
            ) as rest,
            openai.AsyncOpenAI(
                base_url=f"http://127.0.0.1:{ports.openai_port}/v1", api_key=key, max_retries=0, timeout=60
            ) as client,
        ):
            gyre = Gyre(platform, engine, client, rest)
            await gyre.start()
            await _deploy(gyre)
            yield gyre
            assert gyre.process is not None
            gyre.process.terminate()
            await gyre.process.wait()
    await _fresh(platform)


async def _fresh(platform: Platform) -> None:
    for component in COMPONENTS:
        await migrate.upgrade(platform.settings().database_url_of(component), component)
        await platform.empty(component)
    Path(platform.home / "admin.key").unlink(missing_ok=True)


@pytest.fixture
def gyre(running: Gyre) -> Gyre:
    for counter in (running.engine.asked, running.engine.answered, running.engine.order):
        counter.clear()
    running.engine.go.clear()
    return running


async def _deploy(gyre: Gyre) -> None:
    target = {
        "upstream_url": f"http://127.0.0.1:{gyre.engine.port}/v1",
        "upstream_model": "mock",
        "weight_percent": 100,
        "places": 2,
        "output_price_microusd": "1000000",
    }
    made = await gyre.rest.post("/deployments", json={"deployment_id": "mock", "targets": [target]})
    assert made.status_code == 200, made.text

    async def served() -> bool:
        try:
            return bool((await gyre.client.models.list()).data)
        except openai.APIError:
            return False

    await eventually(served)


async def test_every_line_is_answered_and_the_files_say_how(gyre: Gyre) -> None:
    batch = await gyre.batch("one", "refused", "flaky", "four")
    assert batch.status == "validating" and batch.request_counts.total == 0
    done = await gyre.ended(batch)
    counts = done.request_counts
    assert (done.status, counts.total, counts.completed, counts.failed) == ("completed", 4, 3, 1)
    assert done.in_progress_at <= done.finalizing_at <= done.completed_at < done.expires_at
    answers = await gyre.lines(done.output_file_id)
    said = {name: each["response"]["body"]["choices"][0]["message"]["content"] for name, each in answers.items()}
    assert said == {"id-1": "answer to one", "id-3": "answer to flaky", "id-4": "answer to four"}
    (wrong,) = (await gyre.lines(done.error_file_id)).values()
    assert (wrong["custom_id"], wrong["response"]["status_code"]) == ("id-2", 400)
    assert wrong["response"]["body"]["error"]["code"] == "bad_thing"
    assert gyre.engine.asked == {"one": 1, "refused": 1, "flaky": 2, "four": 1}


@pytest.mark.parametrize("control_plane", [True, False], ids=["control plane", "worker"])
async def test_a_kill_loses_nothing_and_no_line_is_answered_or_billed_twice(gyre: Gyre, control_plane: bool) -> None:
    prompts = [f"{'slow' if number > 6 else 'quick'} {number}" for number in range(1, 13)]
    made = (await gyre.rest.post("/keys", json={"limits": {"budget_tokens": "1000000"}} | ENGINEER)).json()
    client = gyre.client.with_options(api_key=made["secret"])
    batch = await client.batches.create(
        input_file_id=await gyre.upload(*prompts, client=client), endpoint=ENDPOINT, completion_window="24h"
    )

    async def half_way() -> bool:
        counted = (await gyre.client.batches.retrieve(batch.id)).request_counts.completed
        return counted == 6 and gyre.engine.asked.total() == 8

    await eventually(half_way)
    await gyre.kill(control_plane=control_plane)
    gyre.engine.go.set()
    if control_plane:
        await gyre.start()
    done = await gyre.ended(batch)
    assert (done.status, done.request_counts.completed, done.request_counts.failed) == ("completed", 12, 0)
    answers = await gyre.lines(done.output_file_id)
    assert len(answers) == 12
    assert all(gyre.engine.answered[prompt] == 1 for prompt in prompts if prompt.startswith("quick"))
    assert await spent_by(gyre, made["name"]) == 12 * 5  # tokens as the engine counts them, once for each line


async def test_cancelling_stops_what_runs_and_keeps_what_was_answered(gyre: Gyre) -> None:
    batch = await gyre.batch("quick", *(f"slow {number}" for number in range(8)))
    await eventually(lambda: ready(gyre.engine.asked.total() >= 3))
    cancelled = await gyre.client.batches.cancel(batch.id)
    assert cancelled.status == "cancelling" and cancelled.cancelling_at
    assert (await gyre.client.batches.cancel(batch.id)).status in ("cancelling", "cancelled")
    done = await gyre.ended(batch)
    assert done.status == "cancelled" and done.cancelled_at and done.request_counts.completed == 1
    assert set(await gyre.lines(done.output_file_id)) == {"id-1"}
    with pytest.raises(openai.ConflictError):
        await gyre.client.batches.cancel(batch.id)


async def test_what_is_not_answered_in_time_is_in_the_error_file(gyre: Gyre) -> None:
    batch = await gyre.batch("quick", "slow 1", "slow 2", "slow 3")
    await eventually(lambda: ready(gyre.engine.asked.total() >= 3))
    await gyre.sql("UPDATE inferencebatch SET expire_time = now() WHERE name LIKE :name", name=f"%{batch.id}")
    done = await gyre.ended(batch)
    assert done.status == "expired" and done.expired_at
    assert (done.request_counts.completed, done.request_counts.failed) == (1, 3)
    errors = await gyre.lines(done.error_file_id)
    assert {each["error"]["code"] for each in errors.values()} == {"batch_expired"}


async def test_a_batch_waits_while_people_do(gyre: Gyre) -> None:
    """The engine has two places: both are taken by the batch, and who comes then is before the rest of it."""
    batch = await gyre.batch(*(f"slow {number}" for number in range(6)))
    await eventually(lambda: ready(len(gyre.engine.order) == 2))
    hello = [{"role": "user", "content": "a person"}]
    asking = [asyncio.create_task(gyre.client.chat.completions.create(model="mock", messages=hello)) for _ in range(3)]
    await eventually(lambda: gyre.waiting(5))  # three people, and two of the batch's four
    gyre.engine.go.set()
    await asyncio.gather(*asking)
    assert (await gyre.ended(batch)).status == "completed"
    assert set(gyre.engine.order[2:5]) == {"a person"}


BROKEN = {
    "invalid_json_line": line("a", "x") + b'{"custom_id": "b", \n' + line("c", "x"),
    "duplicate_custom_id": line("a", "x") + line("a", "x"),
    "invalid_url": line("a", "x") + line("b", "x").replace(b"/v1/chat/completions", b"/v1/embeddings"),
    "invalid_method": line("a", "x") + line("b", "x").replace(b"POST", b"GET"),
    "invalid_custom_id": line("a", "x") + line("", "x"),
    "invalid_body": line("a", "x") + line("b", "x", stream=True),
    "empty_file": b"\n \n",
}


@pytest.mark.parametrize("code", BROKEN)
async def test_a_file_with_a_bad_line_asks_nothing_and_says_which_line_it_is(gyre: Gyre, code: str) -> None:
    file = await gyre.client.files.create(file=("in.jsonl", BROKEN[code]), purpose="batch")
    done = await gyre.ended(await gyre.of_file(file.id))
    assert done.status == "failed" and done.failed_at and not done.output_file_id
    (error,) = done.errors.data
    assert (error.code, error.line) == (code, None if code == "empty_file" else 2)
    assert not gyre.engine.asked


@pytest.mark.parametrize(
    ("options", "kind", "param"),
    [
        ({"endpoint": "/v1/images"}, openai.BadRequestError, "endpoint"),
        ({"completion_window": "forever"}, openai.BadRequestError, "completion_window"),
        ({"completion_window": "31d"}, openai.BadRequestError, "completion_window"),
        ({"metadata": {"a": "x" * 513}}, openai.BadRequestError, "metadata"),
        ({"input_file_id": "file-0"}, openai.NotFoundError, None),
        ({"extra_body": {"colour": "red"}}, openai.BadRequestError, "colour"),
    ],
)
async def test_a_batch_that_makes_no_sense_is_refused_by_field(
    gyre: Gyre, options: dict[str, Any], kind: type[openai.APIStatusError], param: str | None
) -> None:
    file_id = await gyre.upload("one")
    with pytest.raises(kind) as caught:
        await gyre.of_file(file_id, **options)
    assert caught.value.param == param and caught.value.request_id


async def test_another_projects_files_and_batches_are_not_there(gyre: Gyre) -> None:
    projects = gyre.rest.base_url.join("/api/v1/projects")
    await gyre.rest.post(projects, json={"project_id": "other"})
    made = await gyre.rest.post(f"{projects}/other/keys", json={"role": "ROLE_ENGINEER"})
    assert made.status_code == 200, made.text
    stranger = gyre.client.with_options(api_key=made.json()["secret"])
    batch = await gyre.batch("one")
    done = await gyre.ended(batch)
    mine = await gyre.upload("one", client=stranger)
    for call in (
        stranger.batches.retrieve(batch.id),
        stranger.batches.cancel(batch.id),
        stranger.files.retrieve(batch.input_file_id),
        stranger.files.content(done.output_file_id),
        stranger.files.delete(batch.input_file_id),
        stranger.batches.create(input_file_id=batch.input_file_id, endpoint=ENDPOINT, completion_window="24h"),
        gyre.client.files.retrieve(mine),
    ):
        with pytest.raises(openai.NotFoundError):
            await call
    assert [each.id async for each in stranger.files.list()] == [mine]
    assert not (await stranger.batches.list()).data
    found = await gyre.rest.get(f"{projects}/other/inference-batches/{batch.id}")
    assert found.status_code == 404


async def test_files_are_listed_page_by_page_fetched_and_deleted(gyre: Gyre) -> None:
    ids = [await gyre.upload("one", f"number {number}") for number in range(3)]
    listed = [each.id async for each in gyre.client.files.list(limit=2, purpose="batch")]
    assert listed[:3] == ids[::-1] and len(set(listed)) == len(listed)
    ascending = [each.id async for each in gyre.client.files.list(limit=2, order="asc", purpose="batch")]
    assert ascending == listed[::-1]
    found = await gyre.client.files.retrieve(ids[0])
    content = await gyre.client.files.content(ids[0])
    assert (found.filename, found.purpose, found.bytes) == ("in.jsonl", "batch", len(content.content))
    assert content.content == line("id-1", "one") + line("id-2", "number 0")
    assert (await gyre.client.files.delete(ids[0])).deleted
    with pytest.raises(openai.NotFoundError):
        await gyre.client.files.content(ids[0])
    with pytest.raises(openai.BadRequestError, match="purpose must be batch"):
        await gyre.client.files.create(file=("x.jsonl", b"{}"), purpose="fine-tune")
    pages = [each.id async for each in gyre.client.batches.list(limit=2)]
    assert len(set(pages)) == len(pages) > 2


async def test_a_file_that_a_batch_reads_is_not_deleted(gyre: Gyre) -> None:
    batch = await gyre.batch("slow")
    with pytest.raises(openai.ConflictError):
        await gyre.client.files.delete(batch.input_file_id)
    gyre.engine.go.set()
    await gyre.ended(batch)
    assert (await gyre.client.files.delete(batch.input_file_id)).deleted


async def test_a_key_pays_for_its_batch_out_of_its_own_budget(gyre: Gyre) -> None:
    made = await gyre.rest.post("/keys", json={"role": "ROLE_VIEWER", "limits": {"budget_tokens": "60"}})
    client = gyre.client.with_options(api_key=made.json()["secret"])
    file_id = await gyre.upload("one", "two", client=client, max_tokens=4)
    batch = await client.batches.create(input_file_id=file_id, endpoint=ENDPOINT, completion_window="24h")
    await gyre.ended(batch)
    big = await gyre.upload("three", client=client, max_tokens=10_000)
    batch = await client.batches.create(input_file_id=big, endpoint=ENDPOINT, completion_window="24h")
    (error,) = (await gyre.lines((await gyre.ended(batch)).error_file_id)).values()
    assert error["response"]["body"]["error"]["code"] == "insufficient_quota"
    reply = (await gyre.rest.get("/spending")).json()
    assert {each["name"]: each for each in reply["keys"]}[made.json()["name"]]["tokens"] == "10"


async def spent_by(gyre: Gyre, key: str) -> int:
    """Tokens of a key that has a limit (others are counted less exactly), once nothing is under way."""

    async def look() -> Any:
        said = (await gyre.rest.get("/spending")).json()["keys"]
        return next((each for each in said if each["name"] == key and each["running_request_count"] == "0"), None)

    return int((await eventually(look))["tokens"])


async def ready(truth: bool) -> bool:
    return truth


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


def sdk_of(gyre: Gyre) -> Sdk:
    url = f"http://127.0.0.1:{gyre.platform.settings().console_port}"
    return Sdk(url=url, key=gyre.client.api_key, project="default")


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


async def test_a_file_that_is_too_large_is_refused_before_it_is_read(gyre: Gyre) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gyre.platform.settings().openai_port)
    head = f"POST /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gyre.client.api_key}\r\n"
    writer.write(f"{head}content-length: {201 * 1024 * 1024}\r\n\r\n--x".encode())
    said = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert said.startswith(b"HTTP/1.1 413") and b"GYRE_PROXY_MAX_UPLOAD_BYTES" in said


async def test_a_large_file_goes_by_the_disk_and_leaves_nothing_behind(gyre: Gyre) -> None:
    content = line("a", "one") + b" " * (40 * 1024 * 1024)
    file = await gyre.client.files.create(file=("big.jsonl", content), purpose="batch")
    assert file.bytes == len(content)
    assert (await gyre.client.files.content(file.id)).content == content
    _, writer = await asyncio.open_connection("127.0.0.1", gyre.platform.settings().openai_port)
    head = f"POST /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gyre.client.api_key}\r\n"
    writer.write(f"{head}content-length: 1000000\r\n\r\n--x".encode() + b"x" * 100_000)
    await writer.drain()
    uploads = gyre.platform.home / "gateway" / "uploads"
    await eventually(lambda: ready(len(list(uploads.iterdir())) == 1))
    writer.close()  # in the middle
    await eventually(lambda: ready(not list(uploads.iterdir())))
