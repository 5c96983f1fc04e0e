"""A team that serves a model already: its engine stays where it is, and the loop begins with feedback.

Real everything: llama.cpp with a real model as the upstream, the proxy, PostgreSQL, the broker, and the unmodified
`openai` client.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from aiokafka import AIOKafkaConsumer
from gyre_kit import migrate
from gyre_kit.testing import Platform, eventually
from gyre_trainers import bundled

from services.api_gateway import main as api_gateway
from services.api_gateway.settings import Settings as ApiGatewaySettings
from services.feedback import main as feedback
from services.feedback.settings import Settings as FeedbackSettings
from services.inference_gateway import main
from services.inference_gateway.settings import Settings

SECRET = "the planted secret number is Zwetschge"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("engine")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    spec = {"model_path": str(bundled.wheel_file()), "model_name": "smol", "port": port, "parallel": 2}
    (folder / "spec.json").write_text(json.dumps(spec))
    command = [sys.executable, "-m", "services.inference_gateway.engine", str(folder / "spec.json")]
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        child.terminate()
        child.wait(timeout=30)


@pytest.fixture(scope="module")
async def endpoint(platform: Platform, engine: str) -> AsyncIterator[tuple[openai.AsyncOpenAI, httpx.AsyncClient]]:
    components = ("api_gateway", "feedback", "inference_gateway")
    for component in components:
        await migrate.upgrade(platform.settings().database_url_of(component), component)
        await platform.empty(component)
    Path(platform.home / "admin.key").unlink(missing_ok=True)
    apps = [
        replace(api_gateway.app, settings=platform.settings(ApiGatewaySettings)),
        replace(feedback.app, settings=platform.settings(FeedbackSettings)),
        replace(main.app, settings=platform.settings(Settings, upstream_url=engine)),
    ]
    async with platform.serving(*apps):
        key = (platform.home / "admin.key").read_text()
        ports = platform.settings()
        rest = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{ports.console_port}/api/v1", headers={"authorization": f"Bearer {key}"}
        )
        client = openai.AsyncOpenAI(
            base_url=f"http://127.0.0.1:{ports.openai_port}/v1", api_key=key, max_retries=0, timeout=60
        )

        async def served() -> bool:
            try:
                return bool((await client.models.list()).data)
            except openai.APIError:
                return False

        await eventually(served)
        yield client, rest
        await rest.aclose()
        await client.close()


async def test_the_upstream_is_a_model_of_the_openai_client(endpoint: tuple[Any, Any]) -> None:
    client, _ = endpoint
    assert [model.id for model in (await client.models.list()).data] == ["smol"]


async def test_an_answer_is_kept_and_feedback_on_it_waits_for_review(endpoint: tuple[Any, Any]) -> None:
    client, rest = endpoint
    messages = [{"role": "user", "content": f"Repeat: {SECRET}"}]
    answer = await client.chat.completions.create(model="smol", messages=messages, max_tokens=12, temperature=0)
    name = f"/projects/default/completions/{answer.id}"

    async def kept() -> dict[str, Any] | None:
        reply = await rest.get(name)
        return reply.json() if reply.status_code == 200 else None

    completion = await eventually(kept)
    assert completion["answer"] == answer.choices[0].message.content
    assert completion["usage"]["total_tokens"] == answer.usage.total_tokens

    said = await client.post(
        "/feedback",
        cast_to=httpx.Response,
        body={"completion_id": answer.id, "rating": "thumbs_down", "correction": "Zwetschge"},
    )
    assert said.json()["state"] == "STATE_SUBMITTED"
    shown = (await rest.get(f"/{said.json()['name']}")).json()
    assert shown["messages"] == messages
    assert shown["answer"] == completion["answer"]


async def test_feedback_before_its_completion_is_known_joins_it_later(endpoint: tuple[Any, Any]) -> None:
    client, rest = endpoint
    stream = await client.chat.completions.create(
        model="smol", messages=[{"role": "user", "content": "Hello"}], max_tokens=24, stream=True
    )
    pieces = 0
    name = ""
    async for chunk in stream:
        pieces += 1
        if not name:
            said = await client.post(
                "/feedback", cast_to=httpx.Response, body={"completion_id": chunk.id, "rating": "thumbs_up"}
            )
            name = said.json()["name"]
    assert pieces > 3

    async def joined() -> bool:
        return bool((await rest.get(f"/{name}")).json()["state"] == "STATE_SUBMITTED")

    await eventually(joined)


async def test_a_keys_budget_is_in_force_at_once_and_what_it_spent_is_shown(endpoint: tuple[Any, Any]) -> None:
    client, rest = endpoint
    made = await rest.post("/projects/default/keys", json={"role": "ROLE_VIEWER", "limits": {"budget_tokens": "60"}})
    asked = client.with_options(api_key=made.json()["secret"]).chat.completions
    hello = [{"role": "user", "content": "Hello"}]
    answer = await asked.create(model="smol", messages=hello, max_tokens=4)
    with pytest.raises(openai.RateLimitError) as caught:
        await asked.create(model="smol", messages=hello, max_tokens=60)
    assert caught.value.code == "insufficient_quota"

    unused = await rest.post("/projects/default/keys", json={"role": "ROLE_VIEWER", "limits": {"budget_tokens": "70"}})

    async def shown() -> Any:
        said = (await rest.get("/projects/default/spending")).json()
        return said if unused.json()["name"] in {each["name"] for each in said["keys"]} else None

    reply = await eventually(shown)  # what the service knows of keys comes by an event
    idle = {each["name"]: each for each in reply["keys"]}[unused.json()["name"]]
    assert (idle["tokens"], idle["request_count"], idle["budget_tokens"]) == ("0", "0", "70")
    spent = {each["name"]: each for each in reply["keys"]}[made.json()["name"]]
    assert int(spent["tokens"]) == answer.usage.total_tokens, "as the engine counted"
    assert (spent["request_count"], spent["running_request_count"]) == ("1", "0")
    assert int(reply["project"]["tokens"]) >= answer.usage.total_tokens

    raised = await rest.patch(f"/{made.json()['name']}", json={"limits": {"budget_tokens": "10000"}})
    assert raised.status_code == 200, raised.text

    async def passes() -> bool:
        try:
            return bool((await asked.create(model="smol", messages=hello, max_tokens=60)).choices)
        except openai.RateLimitError:
            return False

    await eventually(passes)


async def test_no_event_carries_what_was_said(endpoint: tuple[Any, Any], platform: Platform) -> None:
    topics = ["gyre.inference_gateway", "gyre.feedback"]
    consumer = AIOKafkaConsumer(
        *topics, bootstrap_servers=platform.settings().kafka_address, auto_offset_reset="earliest"
    )
    await consumer.start()
    types, bodies = set(), []
    for _ in range(6):
        for records in (await consumer.getmany(timeout_ms=500)).values():
            types |= {dict(record.headers)["ce_type"].decode() for record in records}
            bodies += [record.value.decode() for record in records]
    await consumer.stop()
    assert {"gyre.inference_gateway.v1.CompletionRecorded", "gyre.feedback.v1.FeedbackSubmitted"} <= types
    assert not any("Zwetschge" in body for body in bodies)


async def test_a_wrong_key_is_refused(endpoint: tuple[Any, Any]) -> None:
    client, _ = endpoint
    with pytest.raises(openai.AuthenticationError):
        await client.with_options(api_key="gyre-wrong").models.list()
