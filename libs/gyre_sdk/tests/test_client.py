"""The client against real services."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any, TypeVar

import pytest
from gyre_kit.testing import Platform
from gyre_sdk import Gyre, GyreError, messages
from gyre_sdk.resources.data import holdouts
from gyre_sdk.tests.conftest import rest_url

T = TypeVar("T")


async def ask(call: Callable[..., T], *arguments: Any, **options: Any) -> T:
    return await asyncio.to_thread(call, *arguments, **options)


def write_rows(path: Path, count: int, broken: bool = False) -> Path:
    rows = [
        json.dumps(
            {"prompt": f"Question {n}: {n * 7919 % 104729} apples?", "completion": f"Answer {n * 31337 % 99991}."}
        )
        for n in range(count)
    ]
    if broken:
        rows.insert(1, '{"prompt": "unfinished')
    path.write_text("\n".join(rows) + "\n")
    return path


async def test_a_file_becomes_a_version_with_its_refused_rows_named(gyre: Gyre, tmp_path: Path) -> None:
    sent: list[tuple[int, int]] = []
    file = write_rows(tmp_path / "apples.jsonl", 20, broken=True)
    split = holdouts({}, test_fraction=0.25, seed=3)
    version = await ask(gyre.datasets.import_file, file, "apples", split=split, on_progress=lambda *p: sent.append(p))
    version = await ask(gyre.datasets.wait_version, version.name, 30)
    assert (version.row_count, version.test_count, version.refused_count) == (20, 5, 1)
    assert sent[-1] == (file.stat().st_size, file.stat().st_size)

    rejects = await ask(lambda: list(gyre.datasets.rejects("apples")))
    assert (rejects[0].line, bool(rejects[0].remedy)) == (2, True)
    tested = await ask(lambda: list(gyre.datasets.rows("apples@1", split="TEST")))
    assert len(tested) == 5
    assert (await ask(gyre.datasets.get, "apples")).latest_version == version.name
    assert await ask(gyre.datasets.version_name, "apples") == version.name


async def test_a_list_goes_on_over_its_pages(gyre: Gyre) -> None:
    made = [await ask(gyre.datasets.create, f"page-{n}") for n in range(5)]
    first = await ask(gyre.datasets.page, page_size=2, query="page-")
    assert (len(first.items), first.total_size) == (2, 5)
    second = await ask(gyre.datasets.page, first.next_page_token, 2, query="page-")
    names = {item.name for item in [*first.items, *second.items]}
    assert len(names) == 4 and names <= {dataset.name for dataset in made}


async def test_what_is_not_there_is_an_error_with_a_remedy(gyre: Gyre) -> None:
    with pytest.raises(GyreError) as caught:
        await ask(gyre.datasets.get, "nothing")
    assert (caught.value.status, caught.value.not_found) == (404, True)
    assert "gyre datasets list" in caught.value.message


async def test_a_wrong_key_is_refused_and_told_what_to_do(served: Platform) -> None:
    stranger = Gyre(url=rest_url(served), key="gyre-wrong")
    with pytest.raises(GyreError) as caught:
        await ask(lambda: list(stranger.datasets.list()))
    assert caught.value.status == 401
    assert "GYRE_API_KEY" in caught.value.remedy


async def test_another_project_sees_nothing(gyre: Gyre, served: Platform) -> None:
    await ask(gyre.datasets.create, "mine")
    await ask(gyre.projects.create, "elsewhere")
    other = Gyre(url=rest_url(served), key=gyre.config.key, project="elsewhere")
    key = await ask(other.keys.create, "ENGINEER", "their own")
    stranger = Gyre(url=rest_url(served), key=key.secret, project="elsewhere")
    assert await ask(lambda: list(stranger.datasets.list())) == []
    with pytest.raises(GyreError) as caught:
        await ask(stranger.datasets.get, "projects/default/datasets/mine")
    assert caught.value.not_found


async def test_feedback_is_submitted_and_found_by_its_number(gyre: Gyre) -> None:
    given = await ask(gyre.feedback.submit, "chatcmpl-unknown", "THUMBS_DOWN", correction="better", slice="parks")
    assert messages.enum_name(given, "state") == "PENDING"
    found = await ask(gyre.feedback.find, f"#{given.number}")
    assert (found.name, found.correction) == (given.name, "better")
    with pytest.raises(GyreError) as caught:
        await ask(gyre.feedback.find, "4711")
    assert caught.value.not_found


async def test_consent_is_changed_alone(gyre: Gyre) -> None:
    before = await ask(gyre.projects.create, "consenting", "Title")
    after = await ask(gyre.projects.update, "consenting", consent_to_keep=True)
    assert (before.consent_to_keep, after.consent_to_keep, after.display_name) == (False, True, "Title")


async def test_facts_arrive_while_they_happen(gyre: Gyre, tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []
    arrived = Event()

    def listen() -> None:
        for event in gyre.events():
            seen.append(event)
            if event["type"] == "gyre.dataset.v1.VersionReady":
                arrived.set()
                return

    Thread(target=listen, daemon=True).start()
    while not await asyncio.to_thread(arrived.wait, 1.0):
        file = write_rows(tmp_path / "facts.jsonl", 5)
        version = await ask(gyre.datasets.import_file, file, "facts")
        await ask(gyre.datasets.wait_version, version.name, 30)
    assert seen[-1]["subject"].startswith("projects/default/datasets/facts/versions/")


async def test_a_failed_import_raises_what_it_said(gyre: Gyre, tmp_path: Path) -> None:
    file = write_rows(tmp_path / "no-pairs.jsonl", 5)
    upload = await ask(gyre.datasets.upload, file)
    dataset = await ask(gyre.datasets.create, "no-pairs", "PREFERENCE")
    version = await ask(gyre.datasets.create_version, dataset.name, upload.uri)
    with pytest.raises(GyreError) as caught:
        await ask(gyre.datasets.wait_version, version.name, 30)
    assert caught.value.reason and caught.value.message.startswith("no-pairs@1 failed: ")


@pytest.mark.parametrize(
    ("content", "type"), [("not json at all", "SFT"), ('{"prompt": "a", "completion": "b"}', "PREFERENCE")]
)
async def test_a_file_without_a_usable_row_leaves_nothing_behind(
    gyre: Gyre, tmp_path: Path, content: str, type: str
) -> None:
    file = tmp_path / "nothing.jsonl"
    file.write_text(content + "\n")
    with pytest.raises(GyreError, match="Line 1") as caught:
        await ask(gyre.datasets.import_file, file, "nothing-good", type)
    assert caught.value.status == 400
    with pytest.raises(GyreError):
        await ask(gyre.datasets.get, "nothing-good")
