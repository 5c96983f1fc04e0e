"""Between rows and protos: fields of the same name carry over; a `StrEnum` READY is `STATE_READY` on the wire.

Descriptors are `Any` here: the stubs know two kinds of each, of which one exists at run time. An enum's number is
`Any` too, because the stubs give each enum a type of its own.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, TypeVar

from google.protobuf.message import Message

Reply = TypeVar("Reply", bound=Message)


def render(row: Any, message: type[Reply], **given: Any) -> Reply:
    """A `message` with every field that `row` has under the same name; `given` adds or overrides."""
    reply = message()
    for field in message.DESCRIPTOR.fields:
        value = given[field.name] if field.name in given else getattr(row, field.name, None)
        if value is not None:
            _set(reply, field, value)
    return reply


def enum_name(message: Message, field: str) -> str:
    """`READY` of a field that holds STATE_READY; empty where it is unspecified."""
    descriptor = message.DESCRIPTOR.fields_by_name[field]
    return short_name(descriptor.enum_type, getattr(message, field))


def short_name(enum: Any, number: int) -> str:
    if number == 0:
        return ""
    return str(enum.values_by_number[number].name).removeprefix(_prefix(enum))


def enum_number(enum: Any, name: str) -> Any:
    """The number of READY, or of STATE_READY; 0 for an empty name."""
    if not name:
        return 0
    values = enum.values_by_name
    return values[name if name in values else _prefix(enum) + name].number


def _set(reply: Message, field: Any, value: Any) -> None:
    if field.message_type and field.message_type.GetOptions().map_entry:
        getattr(reply, field.name).update(value)
    elif field.is_repeated:
        getattr(reply, field.name).extend(_element(field, item) for item in value)
    elif field.message_type is None:
        setattr(reply, field.name, _element(field, value))
    elif isinstance(value, datetime):
        getattr(reply, field.name).FromDatetime(value)
    elif isinstance(value, dict):
        _fill(getattr(reply, field.name), value)
    else:
        getattr(reply, field.name).CopyFrom(value)


def _element(field: Any, value: Any) -> Any:
    if field.enum_type is not None and isinstance(value, str):
        return enum_number(field.enum_type, value)
    if field.message_type is not None and isinstance(value, dict):
        element = field.message_type._concrete_class()
        _fill(element, value)
        return element
    return value


def _fill(message: Message, values: dict[str, Any]) -> None:
    """A plain dict (from a JSON column) into a message; keys that the message lacks are left out."""
    for field in message.DESCRIPTOR.fields:
        if values.get(field.name) is not None:
            _set(message, field, values[field.name])


def _prefix(enum: Any) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", enum.name).upper() + "_"
