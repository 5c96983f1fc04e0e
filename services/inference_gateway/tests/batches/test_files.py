"""Files of `/v1/files`."""

from __future__ import annotations

import asyncio

import openai
import pytest
from gyre_kit.testing import eventually

from services.inference_gateway.tests.batches.gateway import (
    ENDPOINT,
    Gyre,
    line,
    ready,
)


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
