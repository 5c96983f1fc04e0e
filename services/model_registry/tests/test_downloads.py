"""Files on their way out, of a real store: ranges, and what is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
from gyre_kit.storage import ObjectStore, digest_of

from services.model_registry import downloads
from services.model_registry.downloads import File, Range
from services.model_registry.files import BLOBS

BYTES = bytes(range(256)) * 8200  # two chunks


async def stored(folder: Path, content: bytes = BYTES, called: bytes = BYTES) -> tuple[ObjectStore, File]:
    store = ObjectStore.from_url(f"file://{folder}")
    sha256 = digest_of(called).removeprefix("sha256:")
    await store.put(f"{BLOBS}/{sha256}", content)
    return store, File("model.safetensors", len(called), sha256)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Range(), BYTES),
        (Range(offset=7), BYTES[7:]),
        (Range(offset=7, length=20), BYTES[7:27]),
        (Range(offset=len(BYTES) - 1, length=500), BYTES[-1:]),
    ],
)
async def test_any_range_of_a_file_can_be_read(tmp_path: Path, wanted: Range, expected: bytes) -> None:
    store, file = await stored(tmp_path)
    assert b"".join([chunk async for chunk in downloads.content(store, file, wanted)]) == expected


@pytest.mark.parametrize("wanted", [Range(offset=len(BYTES)), Range(offset=-1), Range(length=-1)])
async def test_a_range_outside_of_the_file_is_refused(tmp_path: Path, wanted: Range) -> None:
    store, file = await stored(tmp_path)
    with pytest.raises(downloads.RangeUnusable):
        await anext(downloads.content(store, file, wanted))


async def test_of_a_file_that_is_damaged_the_end_never_comes(tmp_path: Path) -> None:
    store, file = await stored(tmp_path, content=BYTES[:-1] + b"x")
    received = b""
    with pytest.raises(downloads.FileDamaged):
        async for chunk in downloads.content(store, file, Range()):
            received += chunk
    assert len(received) < len(BYTES)


async def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    store, file = await stored(tmp_path)
    await store.delete([f"{BLOBS}/{file.sha256}"])
    with pytest.raises(downloads.FileDamaged):
        await anext(downloads.content(store, file, Range()))
