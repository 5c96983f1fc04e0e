"""CloudEvents 1.0 in Kafka's binary mode: headers `ce_*`, the body as proto3 JSON with proto field names.

An event is named by its proto: `gyre.feedback.v1.FeedbackDecided` goes to the topic `gyre.feedback`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from ulid import ULID


@dataclass(frozen=True)
class Envelope:
    """One event on its way: `payload` is JSON, `headers` are CloudEvents attributes."""

    id: str
    type: str
    subject: str
    headers: dict[str, str]
    payload: bytes


def envelope(subject: str, event: Message, time: datetime, traceparent: str = "") -> Envelope:
    """Wraps `event` about the aggregate `subject`, which is also its Kafka key.

    Raises: ValueError for an event with a message field (a time, say) that nobody set: it would miss from the JSON.
    """
    for field in event.DESCRIPTOR.fields:
        if field.message_type and not field.is_repeated and not event.HasField(field.name):
            raise ValueError(f"{event.DESCRIPTOR.full_name}.{field.name} is not set; an event is complete")
    event_id = str(ULID())
    headers = {
        "ce_specversion": "1.0",
        "ce_id": event_id,
        "ce_source": f"/gyre/{component_of(event.DESCRIPTOR)}",
        "ce_type": event.DESCRIPTOR.full_name,
        "ce_subject": subject,
        "ce_time": time.isoformat(),
        "content-type": "application/json",
    }
    if traceparent:
        headers["ce_traceparent"] = traceparent
    return Envelope(event_id, event.DESCRIPTOR.full_name, subject, headers, to_json(event).encode())


def component_of(descriptor: Any) -> str:
    """`feedback` of the message `gyre.feedback.v1.FeedbackDecided`."""
    package: str = descriptor.file.package
    return package.split(".")[1]


def to_json(message: Message) -> str:
    """The one JSON form on every wire: proto field names, defaults printed."""
    return json_format.MessageToJson(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True, indent=None
    )


def to_dict(message: Message) -> dict[str, Any]:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


class Decoder:
    """Finds the message class of a `ce_type` among those that a service handles; unknown fields are ignored."""

    def __init__(self, types: Iterable[type[Message]]) -> None:
        self._types: Mapping[str, type[Message]] = {cls.DESCRIPTOR.full_name: cls for cls in types}

    def topics(self) -> list[str]:
        return sorted({f"gyre.{component_of(cls.DESCRIPTOR)}" for cls in self._types.values()})

    def decode(self, ce_type: str, payload: bytes) -> Message | None:
        """None for a type that nobody here handles. Raises: json_format.ParseError."""
        cls = self._types.get(ce_type)
        return json_format.Parse(payload, cls(), ignore_unknown_fields=True) if cls else None
