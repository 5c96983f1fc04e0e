"""Events as a downstream team reads them: with confluent-kafka, CloudEvents headers and docs/asyncapi.yaml alone."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from gyre_kit.addresses import COMPONENTS

from tests.conftest import Running
from tests.contract.conftest import PLANTED

ASYNCAPI = Path(__file__).resolve().parents[2] / "docs" / "asyncapi.yaml"
HEADERS = {"ce_specversion", "ce_id", "ce_source", "ce_type", "ce_subject", "ce_time", "content-type"}


@dataclass(frozen=True)
class Event:
    topic: str
    key: str
    headers: dict[str, str]
    body: dict[str, Any]
    raw: str


@pytest.fixture(scope="session")
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(ASYNCAPI.read_text("utf-8"))
    return loaded


@pytest.fixture(scope="session")
def events(running: Running, lived: str) -> list[Event]:
    """Everything on all eight topics, from the beginning, until the facts that must be there have come."""
    wanted = {"KeyChanged", "ProjectChanged", "AuditRecorded", "VersionReady"}
    seen: list[Event] = []
    deadline = time.monotonic() + 60
    for event in _read(running.kafka):
        if event is not None:
            seen.append(event)
        types = {each.headers["ce_type"].rsplit(".", 1)[-1] for each in seen}
        if (wanted <= types and event is None) or time.monotonic() > deadline:
            return seen
    return seen


def _read(bootstrap: str) -> Iterator[Event | None]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "downstream", "session.timeout.ms": 6000})
    consumer.assign([TopicPartition(f"gyre.{component}", 0, OFFSET_BEGINNING) for component in COMPONENTS])
    try:
        while True:
            message = consumer.poll(2.0)
            if message is None or message.error():
                yield None
                continue
            headers = {name: value.decode() for name, value in message.headers() or []}
            raw = message.value().decode()
            yield Event(message.topic(), message.key().decode(), headers, json.loads(raw), raw)
    finally:
        consumer.close()


def validate(document: dict[str, Any], ce_type: str, body: dict[str, Any]) -> None:
    """Raises: jsonschema.ValidationError."""
    schema = {"$ref": f"#/components/schemas/{ce_type}", "components": document["components"]}
    jsonschema.validate(body, schema, format_checker=jsonschema.FormatChecker())


def test_every_event_is_a_cloud_event_keyed_by_its_aggregate(events: list[Event]) -> None:
    assert len(events) > 5
    for event in events:
        assert set(event.headers) >= HEADERS
        assert event.headers["ce_specversion"] == "1.0"
        assert event.headers["content-type"] == "application/json"
        assert event.headers["ce_type"].startswith(f"{event.topic}.v1.")
        assert event.headers["ce_source"] == f"/gyre/{event.topic.removeprefix('gyre.')}"
        assert event.key == event.headers["ce_subject"] == event.body["name"]
    ids = [event.headers["ce_id"] for event in events]
    assert len(ids) == len(set(ids))


def test_every_body_is_what_the_document_promises(events: list[Event], document: dict[str, Any]) -> None:
    for event in events:
        validate(document, event.headers["ce_type"], event.body)


def test_a_field_that_goes_or_changes_its_type_breaks_the_contract(
    events: list[Event], document: dict[str, Any]
) -> None:
    for event in {event.headers["ce_type"]: event for event in events}.values():
        for field in event.body:
            without = {name: value for name, value in event.body.items() if name != field}
            changed = copy.deepcopy(event.body) | {field: {"of": "another type"}}
            for broken in (without, changed):
                with pytest.raises(jsonschema.ValidationError):
                    validate(document, event.headers["ce_type"], broken)


def test_no_event_carries_what_people_wrote(events: list[Event]) -> None:
    assert not [event.headers["ce_type"] for event in events if PLANTED.split(",")[0] in event.raw]
    assert not [event.headers["ce_type"] for event in events if "23042" in event.raw]
