"""Batches from their creation to their end, whatever happens on the way."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest
from gyre_kit.testing import eventually

from services.inference_gateway.tests.batches.gateway import (
    ENDPOINT,
    Gyre,
    line,
    ready,
    spent_by,
)

ENGINEER = {"role": "ROLE_ENGINEER"}


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
