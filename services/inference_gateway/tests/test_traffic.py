"""Shadow, experiment, fallback and region, all the way: command line, REST, control plane, workers and back."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import openai
import pytest
from aiohttp import web
from gyre.inference_gateway.v1.deployment_service_pb2 import TargetSpec
from gyre_kit import migrate
from gyre_kit.testing import Platform, eventually
from gyre_sdk import Gyre, GyreError
from gyre_sdk.cli.root import run
from gyre_sdk.resources.serving import target

from services.api_gateway import main as api_gateway
from services.api_gateway.settings import Settings as ApiGatewaySettings
from services.inference_gateway import main
from services.inference_gateway.settings import Settings

MESSAGES = [{"role": "user", "content": "Where is the town hall?"}]


@asynccontextmanager
async def engine(answer: str) -> AsyncIterator[str]:
    """An OpenAI-compatible one that always says the same. Yields its URL."""

    async def models(_: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "m"}]})

    async def chat(_: web.Request) -> web.Response:
        choice = {"index": 0, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        reply = {
            "id": "x",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [choice],
            "usage": usage,
        }
        return web.json_response(reply)

    app = web.Application()
    app.add_routes([web.get("/v1/models", models), web.post("/v1/chat/completions", chat)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    await runner.cleanup()


@dataclass
class Team:
    """Somebody with a key, an OpenAI client, and two engines."""

    gyre: Gyre
    client: openai.AsyncOpenAI
    one: str
    two: str
    command: Callable[..., Awaitable[dict[str, Any]]]
    text: Callable[..., Awaitable[str]]

    async def serve(self, name: str, *targets: TargetSpec) -> None:
        await asyncio.to_thread(self.gyre.deployments.create, name, list(targets))
        await asyncio.to_thread(self.gyre.deployments.wait_ready, name, 60)

        async def served() -> bool:
            return name in [model.id for model in (await self.client.models.list()).data]

        await eventually(served)

    async def ask(self, name: str, **more: Any) -> Any:
        completions = self.client.chat.completions.with_raw_response
        return await completions.create(model=name, messages=MESSAGES, **more)


@pytest.fixture(scope="module")
async def team(platform: Platform) -> AsyncIterator[Team]:
    for component in ("api_gateway", "inference_gateway"):
        await migrate.upgrade(platform.settings().database_url_of(component), component)
        await platform.empty(component)
    Path(platform.home / "admin.key").unlink(missing_ok=True)
    apps = [
        replace(api_gateway.app, settings=platform.settings(ApiGatewaySettings)),
        replace(main.app, settings=platform.settings(Settings)),
    ]
    async with AsyncExitStack() as stack:
        stack.push_async_callback(platform.empty, "inference_gateway")  # others count what is in the outbox
        one = await stack.enter_async_context(engine("It is at the market."))
        two = await stack.enter_async_context(engine("At the market, next to the church."))
        await stack.enter_async_context(platform.serving(*apps))
        ports = platform.settings()
        key = (platform.home / "admin.key").read_text()
        url = f"http://127.0.0.1:{ports.console_port}"
        gyre = stack.enter_context(Gyre(url, key, "default"))
        client = openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{ports.openai_port}/v1", api_key=key, max_retries=0)
        stack.push_async_callback(client.close)

        async def text(*arguments: str) -> str:
            """What `gyre …` prints for people."""
            patch.setenv("GYRE_URL", url)
            patch.setenv("GYRE_API_KEY", key)
            return await asyncio.to_thread(_captured, list(arguments))

        async def command(*arguments: str) -> dict[str, Any]:
            """What `gyre … --json` prints."""
            return dict(json.loads(await text(*arguments, "--json")))

        patch = stack.enter_context(pytest.MonkeyPatch.context())
        yield Team(gyre, client, one, two, command, text)


def _captured(arguments: list[str]) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as stdout:
        assert run(arguments) == 0, arguments
    return stdout.getvalue()


def at(url: str, percent: int = 100, **fields: Any) -> TargetSpec:
    return target(weight_percent=percent, upstream_url=url, upstream_model="m", **fields)


async def test_a_shadow_is_tried_compared_and_taken_away(team: Team) -> None:
    await team.serve("hotline", at(team.one))
    options = ("--upstream", team.two, "--upstream-model", "m", "--percent", "100")
    await team.command("deployments", "shadow", "hotline", *options)

    async def compared() -> dict[str, Any] | None:
        reply = await team.ask("hotline")
        assert reply.parse().choices[0].message.content == "It is at the market."
        (report,) = (await team.command("deployments", "shadow", "hotline"))["shadows"]
        return report if int(report.get("count", 0)) >= 3 else None

    report = await eventually(compared, seconds=60)
    assert report["percent"] == 100
    assert report["similarity"]["value"] == pytest.approx(8 / 15, abs=1e-6)
    (pair, *_) = (await team.command("deployments", "shadow", "hotline", "--pairs"))["pairs"]
    assert (pair["prompt"], pair["answer"]) == (MESSAGES[0]["content"], "It is at the market.")
    assert pair["shadow_answer"] == "At the market, next to the church."

    assert "53% (" in await team.text("deployments", "shadow", "hotline")
    assert "next to the church" in await team.text("deployments", "shadow", "hotline", "--pairs")

    shadow = await asyncio.to_thread(team.gyre.completions.get, pair["shadow_completion"])
    assert shadow.shadow_of == pair["completion"]
    listed = await asyncio.to_thread(lambda: list(team.gyre.completions.list()))
    assert pair["completion"] in [each.name for each in listed]
    assert all(not each.shadow_of for each in listed)

    off = await team.command("deployments", "shadow", "hotline", "--off")
    assert [each.get("shadow_percent", 0) for each in off["targets"]] == [0, 0]


async def test_an_experiment_counts_both_sides_holds_the_split_and_is_stopped(team: Team) -> None:
    await team.serve("duel", at(team.one, 50), at(team.two, 50))
    made = await team.command("experiments", "create", "duel", "--metric", "length", "--threshold", "100")
    assert made["state"] in ("RUNNING", "STATE_RUNNING")
    with pytest.raises(GyreError, match="experiment"):
        await asyncio.to_thread(team.gyre.deployments.shift, "duel", [at(team.one)])

    async def counted() -> dict[str, Any] | None:
        for number in range(6):
            await team.ask("duel", extra_headers={"x-session-id": f"s{number}"})
        shown = await team.command("experiments", "show", "duel/1")
        return shown if all(int(shown[arm].get("count", 0)) for arm in "ab") else None

    shown = await eventually(counted, seconds=60)
    assert -1 <= shown["low"] <= shown.get("difference", 0) <= shown["high"] <= 1
    assert "to tell yet" in await team.text("experiments", "show", "duel/1")
    await team.text("experiments", "stop", "duel/1")
    assert "Somebody stopped it." in await team.text("experiments", "list", "duel")
    (listed,) = (await team.command("experiments", "list", "duel"))["experiments"]
    assert listed["failure_reason"] == "STOPPED"
    assert (await team.command("experiments", "list"))["experiments"] == [listed]
    with pytest.raises(GyreError, match="better one"):
        await asyncio.to_thread(team.gyre.experiments.promote, "duel/1")


async def test_a_deployment_falls_back_on_another(team: Team) -> None:
    await team.serve("spare", at(team.two))
    await team.serve("fragile", at(team.one))
    changed = await team.command("deployments", "fallbacks", "fragile", "spare", "--after", "5")
    assert (changed["fallbacks"], changed["fallback_after"]) == (["spare"], "5s")
    with pytest.raises(GyreError, match="other deployments"):
        await asyncio.to_thread(lambda: team.gyre.deployments.update("fragile", fallbacks=["fragile"]))
    nowhere = at("http://127.0.0.1:9/v1")
    await asyncio.to_thread(team.gyre.deployments.create, "down", [nowhere])
    await team.text("deployments", "fallbacks", "down", "spare")

    async def fell_back() -> bool:
        try:
            return (await team.ask("down")).headers.get("x-gyre-fallback") == "spare"
        except openai.APIError:
            return False

    assert await eventually(fell_back)


async def test_a_rented_engine_is_refused_until_its_region_is_allowed(team: Team) -> None:
    rented = at("https://api.example.com/v1", region="eu")
    with pytest.raises(GyreError) as caught:
        await asyncio.to_thread(team.gyre.deployments.create, "far", [rented])
    assert (caught.value.reason, "gyre projects update" in caught.value.message) == ("REGION_REFUSED", True)
    changed = await team.command("projects", "update", "default", "--regions", "eu,us")
    assert changed["regions"] == ["eu", "us"]

    async def allowed() -> bool:
        try:
            await asyncio.to_thread(team.gyre.deployments.create, "far", [rented])
        except GyreError:
            return False
        return True

    assert await eventually(allowed)
    await team.command("projects", "update", "default", "--regions", "none")

    async def refused() -> bool:
        try:
            await team.ask("far")
        except openai.PermissionDeniedError as error:
            return error.code == "region_refused"
        except openai.APIError:
            return False
        return False

    assert await eventually(refused)
