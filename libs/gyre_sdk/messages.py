"""Protos and their JSON: the messages of `gyre.*` are the types of this client; the wire has proto3 JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.message import Message

M = TypeVar("M", bound=Message)


def parse(cls: type[M], data: Mapping[str, Any]) -> M:
    """A message from its JSON; fields that a newer server added are ignored."""
    return json_format.ParseDict(dict(data), cls(), ignore_unknown_fields=True)


def to_body(message: Message) -> dict[str, Any]:
    """What was set in a request, by proto field names."""
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def to_json(message: Message) -> dict[str, Any]:
    """All of a resource, defaults too, as the server writes it."""
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def enum_name(message: Message, field: str) -> str:
    """`READY` for `STATE_READY`: without the prefix that proto enums carry."""
    enum = enum_of(message, field)
    return bare(enum.values_by_number[getattr(message, field)].name, enum.name)


def enum_value(message: type[Message], field: str, name: str) -> Any:
    """The number of `SFT`, `sft` or `METHOD_SFT`. Raises: ValueError that names what is allowed."""
    enum = enum_of(message, field)
    for value in enum.values:
        if name.upper() in (value.name, bare(value.name, enum.name)):
            return value.number
    allowed = ", ".join(bare(value.name, enum.name) for value in enum.values if value.number)
    raise ValueError(f"{field} {name!r} is not known; one of {allowed}")


def enum_wire_name(message: type[Message], field: str, name: str) -> str:
    """`METHOD_SFT` of `SFT`, as JSON and queries have it. Raises: ValueError that names what is allowed."""
    wire_name: str = enum_of(message, field).values_by_number[enum_value(message, field, name)].name
    return wire_name


def enum_of(message: Message | type[Message], field: str) -> EnumDescriptor:
    enum: EnumDescriptor = message.DESCRIPTOR.fields_by_name[field].enum_type  # type: ignore[assignment]
    return enum


def bare(value: str, enum: str) -> str:
    """`TYPE_SFT` of the enum `Type` is `SFT`."""
    prefix = "".join(f"_{c}" if c.isupper() else c.upper() for c in enum).lstrip("_").upper() + "_"
    return value.removeprefix(prefix)
