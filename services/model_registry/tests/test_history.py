"""The graph by what was heard, in whichever order, and as it was at any time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from google.protobuf.message import Message
from gyre.dataset.v1.events_pb2 import VersionLicenceChanged, VersionReady
from gyre.evaluation.v1.events_pb2 import VerdictGiven
from gyre.feedback.v1.events_pb2 import BatchReady
from gyre.inference_gateway.v1.events_pb2 import DeploymentDeleted, TrafficShifted
from gyre.training_scheduler.v1.events_pb2 import RunQueued, RunSucceeded
from gyre_kit.db import Session
from gyre_kit.testing import ENGINEER, PROJECT, ManualClock

from services.model_registry import aliases, history, service
from services.model_registry.main import app
from services.model_registry.models import Version

P = f"projects/{PROJECT}"
DATA, RUN, BATCH = f"{P}/datasets/d/versions/1", f"{P}/runs/r", f"{P}/batches/b"
FIRST, SECOND = f"{P}/models/m/versions/1/variants/q8-0", f"{P}/models/m/versions/2/variants/q8-0"
DEPLOYMENT = f"{P}/deployments/hotline"
BEGIN = ManualClock().now()


def at(minute: float) -> datetime:
    return BEGIN + timedelta(minutes=minute)


def said(event: Any, field: str, minute: float) -> Any:
    getattr(event, field).FromDatetime(at(minute))
    return event


def shifted(minute: float, **weights: int) -> TrafficShifted:
    served = {"first": FIRST, "second": SECOND}
    shares = [{"variant": served[name], "weight_percent": weight} for name, weight in weights.items()]
    return said(
        TrafficShifted(name=DEPLOYMENT, shares=shares, alias=f"{P}/models/m/aliases/champion"), "shift_time", minute
    )


async def hear(session: Session, *events: Message) -> None:
    for event in events:
        await app.handlers[type(event)](session, event)


async def seen(session: Session, name: str, minute: float, *, upstream: bool = True) -> set[tuple[str, str]]:
    links = await history.links_at(session, [name], at(minute), upstream=upstream)
    return {(link.source if upstream else link.target, link.relation) for link in links}


async def serving(session: Session, minute: float) -> dict[str, int]:
    links = await history.links_at(session, [DEPLOYMENT], at(minute), upstream=True)
    return {link.source: link.weight_percent for link in links if link.relation == "served_by"}


SPLITS = [shifted(1, first=100), shifted(2, first=90, second=10), shifted(3, second=100), shifted(4, first=100)]


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1, 2, 0]])
async def test_a_deployment_serves_at_any_time_what_its_last_split_before_says(
    session: Session, order: Sequence[int]
) -> None:
    await hear(session, *(SPLITS[index] for index in order))
    await hear(session, said(DeploymentDeleted(name=DEPLOYMENT), "delete_time", 5))
    by_minute = [await serving(session, minute) for minute in (0.5, 1, 2.5, 3.5, 4.5, 6)]
    assert by_minute == [{}, {FIRST: 100}, {FIRST: 90, SECOND: 10}, {SECOND: 100}, {FIRST: 100}, {}]
    assert (DEPLOYMENT, "served_by") in await seen(session, SECOND, 2.5, upstream=False)
    assert (DEPLOYMENT, "served_by") not in await seen(session, SECOND, 4.5, upstream=False)
    assert (DEPLOYMENT, "followed_by") in await seen(session, f"{P}/models/m/aliases/champion", 2.5, upstream=False)


async def test_an_alias_hangs_on_what_it_pointed_to_then_with_the_verdict_that_allowed_it(
    session: Session, clock: ManualClock
) -> None:
    model = await service.create_model(session, PROJECT, "m", {}, "")
    alias, verdict = f"{model.name}/aliases/champion", f"{P}/verdicts/v"
    first, second = [await _ready(session, model.name) for _ in range(2)]
    await hear(session, said(VerdictGiven(name=verdict, candidate_variant=SECOND), "give_time", 1))
    clock.advance(minutes=1)
    await aliases.move(session, aliases.Move(alias=alias, version=first.name), by=ENGINEER)
    clock.advance(minutes=1)
    passed = aliases.Verdict(verdict, passed=True, variant=SECOND)
    await aliases.move(session, aliases.Move(alias, second.name, SECOND, passed), by=ENGINEER)
    clock.advance(minutes=1)
    await aliases.move(session, aliases.Move(alias=alias, version=first.name), by=ENGINEER)

    assert await seen(session, alias, 0.5) == set()
    assert await seen(session, alias, 1.5) == {(first.name, "promoted_to")}
    assert await seen(session, alias, 2.5) == {(SECOND, "promoted_to"), (verdict, "allowed")}
    assert await seen(session, alias, 3.5) == {(first.name, "promoted_to")}
    assert await seen(session, verdict, 2.5, upstream=False) == {(alias, "allowed")}
    assert await seen(session, verdict, 3.5, upstream=False) == set()
    assert await seen(session, verdict, 3.5) == {(SECOND, "judged_by")}


async def test_the_chain_from_an_answer_to_data_and_on_to_the_next_model_is_known(session: Session) -> None:
    version = FIRST.split("/variants/")[0]
    derived = f"{P}/datasets/corrections/versions/1"
    await hear(
        session,
        said(BatchReady(name=BATCH, model_versions=[version], sft_version=derived), "ready_time", 1),
        said(VersionReady(name=derived, derived_from=[BATCH, DATA], all_derived=True), "ready_time", 1),
        said(RunQueued(name=RUN, base=version, datasets=[derived]), "queue_time", 2),
    )
    assert await seen(session, version, 3, upstream=False) == {(BATCH, "answered"), (RUN, "based_on")}
    assert await seen(session, BATCH, 3, upstream=False) == {(derived, "derived")}
    assert await seen(session, derived, 3) == {(BATCH, "derived"), (DATA, "derived")}
    assert await seen(session, RUN, 3) == {(derived, "trained_on"), (version, "based_on")}
    assert await seen(session, RUN, 1.5) == set()


async def test_what_is_heard_twice_or_late_is_one_link_as_old_as_the_thing(session: Session) -> None:
    queued = said(RunQueued(name=RUN, datasets=[DATA]), "queue_time", 1)
    ended = said(RunSucceeded(name=RUN, datasets=[DATA], reward_model=FIRST), "end_time", 5)
    await hear(session, ended, queued, ended, queued)
    links = await history.links_at(session, [RUN], at(9), upstream=True)
    times = {(link.source, link.relation): link.time for link in links}
    assert times == {(DATA, "trained_on"): at(1), (FIRST.split("/variants/")[0], "rewarded_by"): at(5)}


@pytest.mark.parametrize("is_late", [False, True])
async def test_a_corrected_licence_stays_corrected_whichever_is_heard_first(session: Session, is_late: bool) -> None:
    ready = said(VersionReady(name=DATA, licence="MIT", row_count=7, all_derived=True), "ready_time", 1)
    corrected = said(VersionLicenceChanged(name=DATA, licence="CC-BY-NC-4.0", origin="a web page"), "change_time", 2)
    await hear(session, *((corrected, ready) if is_late else (ready, corrected)))
    data = (await history.known_data(session, [DATA]))[DATA]
    assert (data.licence, data.origin, data.row_count, data.adds_rows) == ("CC-BY-NC-4.0", "a web page", 7, False)
    assert data.time == at(1)


async def _ready(session: Session, model: str) -> Version:
    version = await service.import_version(session, model, service.Import(source="bundled://smollm2"))
    stored = service.Stored(uri="u", digest="sha256:a", size_bytes=1, architecture="L", parameter_count=1)
    await service.finish_version(session, version, stored)
    return version
