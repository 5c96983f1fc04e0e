"""docs/asyncapi.yaml: what downstream teams read from Kafka, as AsyncAPI 3, out of each component's events.proto."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from gyre_kit.schemas import json_schemas

Json = dict[str, Any]
SCHEMAS, MESSAGES = "#/components/schemas/", "#/components/messages/"
INFO = {
    "title": "Gyre's events",
    "version": "1.0.0",
    "license": {"name": "Apache-2.0"},
    "description": (
        "Facts in the past tense, one topic a component. CloudEvents 1.0 in Kafka's binary mode: the attributes are "
        "headers `ce_*`, the value is the data as JSON. Delivered at least once: drop a `ce_id` that you know. In "
        "order for one key, which is the aggregate's name. No event holds a prompt, an answer or personal data. "
        "int64 is a string, as proto3 JSON has it."
    ),
}
NOTICE = "# Generated from proto/gyre/*/v1/events.proto by `make gen`. Do not edit.\n"


def render(protos: FileDescriptorSet, comments: Mapping[str, str]) -> str:
    """The document, with every field of every event required and every payload closed."""
    topics = _topics(protos)
    events = [event for topic in topics.values() for event in topic]
    schemas = json_schemas(events, comments, SCHEMAS)
    document = {
        "asyncapi": "3.0.0",
        "info": INFO,
        "defaultContentType": "application/json",
        "servers": {
            "local": {"host": "127.0.0.1:8092", "protocol": "kafka", "description": "The broker of `gyre up`."}
        },
        "channels": {topic: _channel(topic, members) for topic, members in topics.items()},
        "operations": {f"send-{topic}": _operation(topic) for topic in topics},
        "components": {
            "messages": {event.full_name: _message(event, comments) for event in events},
            "schemas": {**schemas, **{_headers_name(event): _headers(event) for event in events}},
        },
    }
    return NOTICE + yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def _topics(protos: FileDescriptorSet) -> dict[str, list[Descriptor]]:
    """Topic → events, by name. An event is a message of events.proto that has a `name`: its aggregate."""
    pool = DescriptorPool()
    for proto in protos.file:
        pool.Add(proto)
    files = sorted(file.name for file in protos.file if file.name.endswith("/events.proto"))
    return {f"gyre.{path.split('/')[1]}": _events(pool.FindFileByName(path)) for path in files}


def _events(file: FileDescriptor) -> list[Descriptor]:
    return [message for message in file.message_types_by_name.values() if "name" in message.fields_by_name]


def _channel(topic: str, events: list[Descriptor]) -> Json:
    return {
        "address": topic,
        "description": f"Key: the aggregate's name. Dead letters: `{topic}.dead`.",
        "messages": {event.name: {"$ref": MESSAGES + event.full_name} for event in events},
        "bindings": {"kafka": {"topic": topic, "bindingVersion": "0.5.0"}},
    }


def _operation(topic: str) -> Json:
    return {"action": "send", "channel": {"$ref": f"#/channels/{topic}"}}


def _message(event: Descriptor, comments: Mapping[str, str]) -> Json:
    return {
        "name": event.full_name,
        "title": event.name,
        "summary": comments[event.full_name],
        "contentType": "application/json",
        "headers": {"$ref": SCHEMAS + _headers_name(event)},
        "payload": {"$ref": SCHEMAS + event.full_name},
        "bindings": {
            "kafka": {"key": {"type": "string", "description": "The aggregate's name."}, "bindingVersion": "0.5.0"}
        },
    }


def _headers_name(event: Descriptor) -> str:
    return f"{event.full_name}.Headers"


def _headers(event: Descriptor) -> Json:
    """CloudEvents attributes. Open, for instrumentation on the way adds headers of its own."""
    component = event.file.package.split(".")[1]
    required: Json = {
        "ce_specversion": {"type": "string", "const": "1.0"},
        "ce_id": {"type": "string", "description": "ULID; the same when an event is sent again."},
        "ce_source": {"type": "string", "const": f"/gyre/{component}"},
        "ce_type": {"type": "string", "const": event.full_name},
        "ce_subject": {"type": "string", "description": "The aggregate's name; equal to the key."},
        "ce_time": {"type": "string", "format": "date-time"},
        "content-type": {"type": "string", "const": "application/json"},
    }
    traceparent = {"type": "string", "description": "W3C trace context of the call that made the fact."}
    return {
        "type": "object",
        "properties": {**required, "ce_traceparent": traceparent},
        "required": list(required),
    }


class _Dumper(yaml.SafeDumper):
    """Without anchors: the same small schema may stand in several places."""

    def ignore_aliases(self, data: object) -> bool:
        return True
