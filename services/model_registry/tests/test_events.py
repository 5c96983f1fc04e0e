from __future__ import annotations

from gyre.training_scheduler.v1.events_pb2 import RunSucceeded
from gyre_kit.db import Session
from gyre_kit.testing import PROJECT

from services.model_registry import store
from services.model_registry.main import app

RUN = f"projects/{PROJECT}/runs/r1"


def succeeded(**fields: object) -> RunSucceeded:
    return RunSucceeded(name=RUN, output_uri="gyre://runs/r1/1", output_digest="sha256:1", **fields)


async def test_a_run_that_asks_for_it_becomes_the_one_version_of_its_model(session: Session) -> None:
    event = succeeded(
        register_as=f"projects/{PROJECT}/models/hotline", datasets=["projects/acme/datasets/d/versions/1"]
    )
    for _ in range(2):
        await app.handlers[RunSucceeded](session, event)
    versions = await store.versions_of(session, f"projects/{PROJECT}/models/hotline")
    assert [(version.run, version.dataset_versions) for version in versions] == [
        (RUN, ["projects/acme/datasets/d/versions/1"])
    ]


async def test_a_run_that_does_not_ask_is_left_alone(session: Session) -> None:
    await app.handlers[RunSucceeded](session, succeeded())
    assert await store.version_of_run(session, RUN) is None
