"""Imports that are interrupted, and files whose time has come."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from gyre_kit.app import Context
from gyre_kit.auth import acting_as
from gyre_kit.reconcile import LeaseLost, lease
from gyre_kit.storage import key_of
from gyre_kit.testing import ENGINEER, PROJECT, ManualClock, Platform
from ulid import ULID

from services.dataset import creation, main, reconcile, service
from services.dataset.models import Upload, Version, VersionState
from services.dataset.settings import Settings
from services.dataset.tests.samples import hotline, jsonl


@pytest.fixture
async def context(platform: Platform, clock: ManualClock) -> AsyncIterator[Context]:
    """The service without its reconcilers: the tests take their steps."""
    app = replace(main.app, settings=platform.settings(Settings), reconcilers=())
    async with platform.serving(app, clock=clock) as [context]:
        yield context
    await platform.empty("dataset")
    shutil.rmtree(context.store.local_path("dataset") or "", ignore_errors=True)


async def importing(context: Context, content: bytes, number: int = 1) -> str:
    """An upload, and a version that waits for its import."""
    key = f"dataset/uploads/{ULID.from_datetime(context.clock.now())}"
    uri = await context.store.put(key, content)
    with acting_as(ENGINEER):
        async with context.db.transaction() as session:
            await service.keep_upload(
                session,
                Upload(
                    name=f"projects/{PROJECT}/uploads/{number}", project=PROJECT, uri=uri, filename="rows.jsonl",
                    size_bytes=len(content), digest="sha256:0",
                ),
            )  # fmt: skip
            dataset = await service.create_dataset(
                session, service.NewDataset(PROJECT, "hotline", "SFT", request_id="hotline")
            )
            version = await creation.create_version(session, creation.NewVersion(dataset.name, uri), by=ENGINEER)
    return version.name


async def read(context: Context, name: str) -> Version:
    async with context.db.transaction() as session:
        return await service.get_version(session, name)


async def test_an_import_ends_ready_with_its_files_in_place(context: Context) -> None:
    name = await importing(context, jsonl(hotline(10)))
    assert await reconcile.import_versions(context)
    version = await read(context, name)
    assert (version.state, version.row_count, version.lease_token) == (VersionState.READY, 10, None)
    assert all([await context.store.exists(f"{version.prefix}/{file}") for file in reconcile.FILES])
    assert not await reconcile.import_versions(context)


async def test_an_import_that_was_cut_off_is_done_again_with_the_same_result(
    context: Context, clock: ManualClock
) -> None:
    """As after kill -9: the lease is there, files may be, nobody works."""
    name = await importing(context, jsonl(hotline(10)))
    async with lease(context.db, Version, Version.name == name) as first:
        assert first is not None
        facts = await reconcile._import(context, first.row)
        assert not await reconcile.import_versions(context)
        clock.advance(seconds=60)
        assert await reconcile.import_versions(context)
        with pytest.raises(LeaseLost):
            await reconcile._finish(context, first, facts)
    version = await read(context, name)
    assert (version.state, version.digest) == (VersionState.READY, facts["digest"])
    assert (version.train_digest, version.test_digest) == (facts["train_digest"], facts["test_digest"])


async def test_a_version_deleted_during_its_import_stays_deleted(context: Context) -> None:
    name = await importing(context, jsonl(hotline(10)))
    async with lease(context.db, Version, Version.name == name) as claim:
        assert claim is not None
        facts = await reconcile._import(context, claim.row)
        with acting_as(ENGINEER):
            async with context.db.transaction() as session:
                await service.delete_version(session, name)
        await reconcile._finish(context, claim, facts)
    assert (await read(context, name)).state == VersionState.DELETED


async def test_a_source_that_is_gone_fails_the_import_with_the_remedy(context: Context) -> None:
    name = await importing(context, jsonl(hotline(10)))
    await context.store.delete([key_of((await read(context, name)).source_uri)])
    await reconcile.import_versions(context)
    version = await read(context, name)
    assert (version.state, version.failure_reason) == (VersionState.FAILED, "SOURCE_GONE")
    assert "upload the file again" in version.failure_message


async def test_an_import_that_keeps_crashing_is_given_up(
    context: Context, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = await importing(context, jsonl(hotline(10)))
    monkeypatch.setattr(sys, "executable", "/bin/false")
    for _ in range(reconcile.MAX_CRASHES):
        assert (await read(context, name)).state == VersionState.IMPORTING
        assert not await reconcile.import_versions(context)
        clock.advance(seconds=60)
    version = await read(context, name)
    assert (version.state, version.failure_reason) == (VersionState.FAILED, "IMPORT_CRASHED")


STARTER = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-m", "services.dataset.work", *sys.argv[1:]], stdin=subprocess.PIPE)
print(child.pid, flush=True)
child.wait()
"""


def test_the_process_of_an_import_ends_with_its_service(tmp_path: Path) -> None:
    """Its standard input is a pipe whose other end dies with the service."""
    job = tmp_path / "job.json"
    os.mkfifo(job)  # nobody writes: the process waits, as in a long import
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", STARTER, str(job), str(tmp_path)]
    service_process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert service_process.stdout is not None
    child = psutil.Process(int(service_process.stdout.readline()))
    service_process.kill()
    service_process.wait()
    service_process.stdout.close()
    psutil.wait_procs([child], timeout=30)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


@asynccontextmanager
async def deleted(context: Context, name: str) -> AsyncIterator[str]:
    with acting_as(ENGINEER):
        async with context.db.transaction() as session:
            yield (await service.delete_version(session, name)).prefix


async def test_the_files_of_a_deleted_version_are_kept_for_seven_days(context: Context, clock: ManualClock) -> None:
    name, kept = await importing(context, jsonl(hotline(10))), await importing(context, jsonl(hotline(9)), 2)
    while await reconcile.import_versions(context):
        pass
    async with deleted(context, name) as prefix:
        pass
    clock.advance(days=6, hours=23)
    assert not await reconcile.collect_versions(context)
    assert len(await context.store.list(prefix)) == len(reconcile.FILES)
    clock.advance(hours=2)
    assert await reconcile.collect_versions(context)
    assert await context.store.list(prefix) == []
    assert len(await context.store.list((await read(context, kept)).prefix)) == len(reconcile.FILES)
    assert (await read(context, name)).state == VersionState.DELETED
    assert not await reconcile.collect_versions(context)


async def test_an_upload_is_forgotten_after_a_day_unless_a_version_has_it(context: Context, clock: ManualClock) -> None:
    name = await importing(context, jsonl(hotline(10)))
    used = (await read(context, name)).source_uri
    await context.store.put(f"dataset/uploads/{ULID.from_datetime(clock.now())}", b"a stray without a row")
    clock.advance(hours=23)
    await reconcile.forget_uploads(context)
    assert len(await context.store.list("dataset/uploads")) == 2
    clock.advance(days=1)
    await reconcile.forget_uploads(context)
    assert await context.store.list("dataset/uploads") == [key_of(used)]
    async with deleted(context, name):
        pass
    await reconcile.forget_uploads(context)
    assert await context.store.list("dataset/uploads") == []
