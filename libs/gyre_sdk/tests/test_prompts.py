"""A prompt and a policy from the command line to the bytes that an engine gets, and what is kept of it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from gyre_kit.testing import Platform, eventually
from gyre_sdk import Gyre, GyreError
from gyre_sdk.cli.base import Exit
from gyre_sdk.cli.root import run
from gyre_sdk.tests.conftest import rest_url
from gyre_sdk.tests.test_traces import CALL, Whole, whole

__all__ = ["whole"]
PROMPT = {
    "system": "You sort calls of {{company}}.",
    "messages": [{"role": "user", "content": "{{call}}"}],
    "parameters": {"temperature": 0},
}
RESULT = [{"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "tool_call_id": "call_1", "content": "sent"}]
VARIABLES = {"company": "Acme", "call": "I am bob@example.com, where is my order?"}


async def gyre(whole: Whole, capsys: pytest.CaptureFixture[str], *command: str, code: int = Exit.OK) -> Any:
    """What a command says as JSON."""
    capsys.readouterr()
    ended = await asyncio.to_thread(run, [*command, "--json"])
    said = capsys.readouterr()
    assert ended == code, said
    return json.loads(said.out) if said.out.strip() else said.err


@pytest.fixture
def at(whole: Whole, platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GYRE_URL", rest_url(platform))
    monkeypatch.setenv("GYRE_API_KEY", whole.key)


async def test_a_prompt_and_a_policy_reach_the_engine_and_the_trace(
    whole: Whole, at: None, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "triage.json"
    file.write_text(json.dumps(PROMPT))
    pushed = await gyre(whole, capsys, "prompts", "push", "triage", str(file), "--label", "production")
    assert (pushed["number"], pushed["variables"]) == (1, ["call", "company"])
    set_ = await gyre(whole, capsys, "policy", "set", "--prompt-data", "mark", "--cache", "always")
    assert (set_["prompt_data"], set_["cache"]["ttl"]) == ("ACTION_MARK", "3600s")

    async def answered() -> Any:
        body = {"model": "helper", "prompt": {"id": "triage", "variables": VARIABLES}}
        try:
            return await whole.post("/v1/chat/completions", body | {"messages": RESULT})
        except AssertionError:  # the workers do not know it yet
            return None

    async def from_cache() -> Any:
        said = await answered()
        used = said and said["usage"]
        return said if used and used["prompt_tokens_details"]["cached_tokens"] == used["prompt_tokens"] else None

    await asyncio.to_thread(whole.gyre.projects.update, "default", consent_to_keep=True)
    again = await eventually(from_cache)
    trace = await eventually(lambda: asyncio.to_thread(_trace_of, whole, again["id"]))
    completion = trace.steps[0].completion
    assert completion.prompt == "projects/default/prompts/triage/versions/1"
    assert [each.content for each in completion.messages][:2] == [
        "You sort calls of Acme.", "I am [email_1], where is my order?",
    ]  # fmt: skip
    assert (list(completion.guardrails), completion.cached, completion.cost_microusd) == (
        ["prompt.email:mark"],
        True,
        0,
    )
    assert (await gyre(whole, capsys, "traces", "list", "--prompt", "triage@1"))["traces"]
    assert not (await gyre(whole, capsys, "traces", "list", "--prompt", "triage@2"))["traces"]


def _trace_of(whole: Whole, completion: str) -> Any:
    try:
        return whole.gyre.traces.get(completion)
    except GyreError:  # not stored yet
        return None


async def test_labels_move_and_versions_are_compared_on_the_command_line(
    whole: Whole, at: None, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "greet.json"
    for greeting in ("Good day.", "Hello."):
        file.write_text(json.dumps({"system": greeting}))
        await gyre(whole, capsys, "prompts", "push", "greet", str(file), "-m", greeting)
    assert (await gyre(whole, capsys, "prompts", "label", "greet", "production", "1"))["labels"] == {"production": 1}
    assert (await gyre(whole, capsys, "prompts", "show", "greet"))["number"] == 1
    capsys.readouterr()
    assert await asyncio.to_thread(run, ["prompts", "show", "greet@2", "--diff", "production"]) == Exit.OK
    said = capsys.readouterr().out
    assert "-Good day." in said
    assert "+Hello." in said
    assert (await gyre(whole, capsys, "prompts", "list"))["prompts"][0]["name"] == "projects/default/prompts/greet"
    await gyre(whole, capsys, "prompts", "label", "greet", "production", "7", code=Exit.NOT_FOUND)
    file.write_text('{"messages": 7}')
    await gyre(whole, capsys, "prompts", "push", "greet", str(file), code=Exit.USAGE)
    await gyre(whole, capsys, "policy", "set", code=Exit.USAGE)


async def test_only_administrators_change_the_policy(whole: Whole, capsys: pytest.CaptureFixture[str]) -> None:
    key = await asyncio.to_thread(whole.gyre.keys.create, "ENGINEER")
    engineer = Gyre(url=whole.gyre.config.url, key=key.secret)
    with pytest.raises(GyreError) as denied:
        await asyncio.to_thread(engineer.traffic_policies.update, injection="ACTION_FLAG")
    assert denied.value.status == 403
    assert (await asyncio.to_thread(engineer.traffic_policies.of_project)).name == "projects/default/trafficPolicy"
    engineer.close()
