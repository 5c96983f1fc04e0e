"""One source of shapes: JSON Schema and Pydantic models that follow from proto descriptors.

Both describe the proto3 JSON mapping as Gyre writes it: proto field names, defaults printed, int64 as string, enums by
name, times as RFC 3339. A message becomes a closed object, so that a field that is misspelt or was never agreed on is
an error and not a silence. docs/asyncapi.yaml is made with `json_schemas`; api_gateway's bodies, and so
docs/openapi.json, with `request_model` and `response_model`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, TypeVar

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    create_model,
)
from pydantic.json_schema import SkipJsonSchema

Json = dict[str, Any]
AnyMessage = TypeVar("AnyMessage", bound=Message)

_INT64_PATTERN = "^-?[0-9]{1,20}$"
_DURATION_PATTERN = r"^-?[0-9]{1,12}(\.[0-9]{1,9})?s$"
# The kinds that the protos use; another one is a KeyError when it is first met.
_SCALARS: dict[int, Json] = {
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    # A diverged loss is a fact too: proto3 JSON spells what JSON has no number for.
    FieldDescriptor.TYPE_DOUBLE: {
        "oneOf": [{"type": "number"}, {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]}]
    },
    FieldDescriptor.TYPE_INT32: {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    FieldDescriptor.TYPE_INT64: {"type": "string", "pattern": _INT64_PATTERN},
    FieldDescriptor.TYPE_STRING: {"type": "string"},
}
_WELL_KNOWN: dict[str, Json] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": _DURATION_PATTERN},
    "google.protobuf.FieldMask": {"type": "string"},
}


# --- JSON Schema -----------------------------------------------------------------------------------------------------


def json_schemas(roots: Sequence[Descriptor], comments: Mapping[str, str], ref: str) -> dict[str, Json]:
    """Schemas of events, `roots`, and of all that they refer to, by full name, in the order of first use.

    Every field is required, for an event is complete. `comments` gives descriptions by full name; `ref` is where the
    result will lie, for example "#/components/schemas/".
    Raises: TypeError for a field that can be left unset (`optional`, `oneof`): its reader could not rely on it.
    """
    schemas: dict[str, Json] = {}
    pending: list[Descriptor | EnumDescriptor] = list(roots)
    while pending:
        descriptor = pending.pop(0)
        if descriptor.full_name in schemas:
            continue
        if isinstance(descriptor, EnumDescriptor):
            schema: Json = {"type": "string", "enum": [value.name for value in descriptor.values]}
        else:
            schema = _object_schema(descriptor, comments, ref)
            pending.extend(_referred(descriptor))
        schemas[descriptor.full_name] = _described(schema, comments.get(descriptor.full_name, ""))
    return schemas


def _object_schema(descriptor: Descriptor, comments: Mapping[str, str], ref: str) -> Json:
    for field in descriptor.fields:
        if field.containing_oneof:
            raise TypeError(f"{field.full_name} can be left unset; an event needs a value that says so")
    properties = {
        field.name: _described(_field_schema(field, ref), comments.get(field.full_name, ""))
        for field in descriptor.fields
    }
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _field_schema(field: FieldDescriptor, ref: str) -> Json:
    if value := _map_value(field):
        return {"type": "object", "additionalProperties": _value_schema(value, ref)}
    schema = _value_schema(field, ref)
    return {"type": "array", "items": schema} if field.is_repeated else schema


def _value_schema(field: FieldDescriptor, ref: str) -> Json:
    if field.message_type:
        full_name = field.message_type.full_name
        return dict(_WELL_KNOWN[full_name]) if _is_googles(full_name) else {"$ref": ref + full_name}
    if field.enum_type:
        return {"$ref": ref + field.enum_type.full_name}
    return dict(_SCALARS[field.type])


def _described(schema: Json, comment: str) -> Json:
    if not comment:
        return schema
    # Beside a $ref other keywords are ignored up to draft 7, which AsyncAPI builds on.
    return {"description": comment, "allOf": [schema]} if "$ref" in schema else {**schema, "description": comment}


def _referred(descriptor: Descriptor) -> list[Descriptor | EnumDescriptor]:
    fields = [_map_value(field) or field for field in descriptor.fields]
    messages = [field.message_type for field in fields if field.message_type]
    enums = [field.enum_type for field in fields if field.enum_type]
    return [*(message for message in messages if not _is_googles(message.full_name)), *enums]


# --- Pydantic --------------------------------------------------------------------------------------------------------


def response_model(message: type[Message]) -> type[BaseModel]:
    """What Gyre answers: closed; every field is required but those that can be unset, which are then left out."""
    return _response_model(message.DESCRIPTOR)


def request_model(
    message: type[Message],
    *,
    omit: tuple[str, ...] = (),
    only: tuple[str, ...] = (),
    required: tuple[str, ...] = (),
) -> type[BaseModel]:
    """What Gyre takes: closed; a field is optional unless it is in `required`.

    `omit` leaves out what comes by the path (`parent`, `name`); `only` keeps what a PATCH may change. Message fields
    are models in the same manner, with nothing required.
    """
    descriptor = message.DESCRIPTOR
    names = [name for name in only or descriptor.fields_by_name if name not in omit]
    unknown = {*names, *omit, *required} - set(descriptor.fields_by_name)
    if unknown or not set(required) <= set(names):
        raise ValueError(f"{descriptor.full_name} does not offer {sorted(unknown or set(required) - set(names))}")
    return _request_model(descriptor, tuple(names), required)


def to_message(body: BaseModel, message: type[AnyMessage], **path: str) -> AnyMessage:
    """The message that `body` says, completed by what the path said (`parent`, `name`). What is unset stays unset."""
    fields = body.model_dump(mode="json", exclude_unset=True)
    return json_format.ParseDict({**fields, **path}, message())


def _int64_text(value: object) -> object:
    """Proto3 JSON takes an int64 as a number too. Raises: ValueError for what does not fit."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and re.fullmatch(_INT64_PATTERN, value) and not -(2**63) <= int(value) < 2**63:
        raise ValueError("does not fit 64 bits")
    return value


def _finite_or_text(value: float) -> float | str:
    return value if math.isfinite(value) else {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")


_skip: Any = SkipJsonSchema  # whose subscript mypy cannot follow
_UNSEEN_NONE = _skip[None]
_Nested = Callable[[Descriptor], type[BaseModel]]
_Scalars = Mapping[int, Any]
_ANSWERED: _Scalars = {
    FieldDescriptor.TYPE_BOOL: bool,
    FieldDescriptor.TYPE_BYTES: Annotated[str, WithJsonSchema(_SCALARS[FieldDescriptor.TYPE_BYTES])],
    FieldDescriptor.TYPE_DOUBLE: Annotated[
        float,
        PlainSerializer(_finite_or_text, when_used="json"),
        WithJsonSchema(_SCALARS[FieldDescriptor.TYPE_DOUBLE]),
    ],
    FieldDescriptor.TYPE_INT32: Annotated[int, Field(ge=-(2**31), le=2**31 - 1)],
    FieldDescriptor.TYPE_INT64: Annotated[str, Field(pattern=_INT64_PATTERN)],
    FieldDescriptor.TYPE_STRING: str,
}
_TAKEN: _Scalars = {
    **_ANSWERED,
    FieldDescriptor.TYPE_DOUBLE: Annotated[float, Field(allow_inf_nan=False)],
    FieldDescriptor.TYPE_INT64: Annotated[
        str,
        Field(pattern=_INT64_PATTERN),
        BeforeValidator(_int64_text),
        WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string", "pattern": _INT64_PATTERN}]}),
    ],
}
_WELL_KNOWN_TYPES: dict[str, Any] = {
    "google.protobuf.Timestamp": AwareDatetime,
    "google.protobuf.Duration": Annotated[str, Field(pattern=_DURATION_PATTERN)],
    "google.protobuf.FieldMask": str,
    "google.protobuf.Struct": dict[str, Any],
}


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=())


@cache
def _response_model(descriptor: Descriptor) -> type[BaseModel]:
    fields = {field.name: _response_field(field) for field in descriptor.fields}
    return _create(descriptor, _short_name(descriptor), fields)


def _response_field(field: FieldDescriptor) -> Any:
    annotation = _annotation(field, _response_model, _ANSWERED)
    if not field.has_presence:
        return annotation, Field(description=_comment(field))
    # Left out when unset, as proto3 JSON does: the schema says "not required", and knows no null.
    return annotation | _UNSEEN_NONE, Field(
        None,
        description=_comment(field),
        exclude_if=lambda value: value is None,
        json_schema_extra=lambda schema: schema.pop("default", None),
    )


@cache
def _request_model(descriptor: Descriptor, names: tuple[str, ...], required: tuple[str, ...]) -> type[BaseModel]:
    fields = {name: _request_field(descriptor.fields_by_name[name], name in required) for name in names}
    short_name = _short_name(descriptor)
    return _create(descriptor, short_name if short_name.endswith("Request") else short_name + "Input", fields)


def _request_field(field: FieldDescriptor, required: bool) -> Any:
    annotation = _annotation(field, _request_model_of_all, _TAKEN)
    if required:
        can_be_empty = field.cpp_type != FieldDescriptor.CPPTYPE_STRING and not field.is_repeated
        return annotation, Field(description=_comment(field), min_length=None if can_be_empty else 1)
    if field.has_presence:
        return annotation | None, Field(None, description=_comment(field))
    return annotation, Field(_default(field), description=_comment(field))


def _request_model_of_all(descriptor: Descriptor) -> type[BaseModel]:
    return _request_model(descriptor, tuple(descriptor.fields_by_name), ())


def _create(descriptor: Descriptor, name: str, fields: dict[str, Any]) -> type[BaseModel]:
    return create_model(name, __base__=_Closed, __doc__=_comment(descriptor), **fields)


def _annotation(field: FieldDescriptor, nested: _Nested, scalars: _Scalars) -> Any:
    if value := _map_value(field):
        return dict.__class_getitem__((str, _value_annotation(value, nested, scalars)))
    annotation = _value_annotation(field, nested, scalars)
    return list.__class_getitem__(annotation) if field.is_repeated else annotation


def _value_annotation(field: FieldDescriptor, nested: _Nested, scalars: _Scalars) -> Any:
    if field.message_type:
        full_name = field.message_type.full_name
        return _WELL_KNOWN_TYPES[full_name] if _is_googles(full_name) else nested(field.message_type)
    if field.enum_type:
        return _enum(field.enum_type)
    return scalars[field.type]


@cache
def _enum(descriptor: EnumDescriptor) -> type[StrEnum]:
    build: Any = StrEnum  # which mypy knows as a class statement alone
    names: type[StrEnum] = build(_short_name(descriptor), {value.name: value.name for value in descriptor.values})
    return names


def _default(field: FieldDescriptor) -> Any:
    if field.is_repeated:
        return {} if _map_value(field) else []
    if field.enum_type:
        return _enum(field.enum_type)(field.enum_type.values_by_number[0].name)
    if field.type == FieldDescriptor.TYPE_INT64:
        return "0"
    return "" if field.type == FieldDescriptor.TYPE_BYTES else field.default_value


# --- Descriptors -----------------------------------------------------------------------------------------------------


def _map_value(field: FieldDescriptor) -> FieldDescriptor | None:
    """The value of a map field, None for any other field."""
    entry = field.message_type
    return entry.fields_by_name["value"] if entry and entry.GetOptions().map_entry else None


def _is_googles(full_name: str) -> bool:
    """Well-known types have a JSON form of their own; one that is not in the tables above is a KeyError."""
    return full_name.startswith("google.")


def _short_name(descriptor: Descriptor | EnumDescriptor) -> str:
    """`dataset_Version_State`: unique over all components. Without dots: FastAPI keeps only what follows the last."""
    return descriptor.full_name.removeprefix("gyre.").replace(".v1.", ".").replace(".", "_")


def _comment(descriptor: Descriptor | FieldDescriptor) -> str | None:
    return _comments().get(descriptor.full_name)


@cache
def _comments() -> Mapping[str, str]:
    """What the protos say of each name; generated beside the code, for descriptors forget comments at run time."""
    comments: Mapping[str, str] = json.loads((files("gyre") / "comments.json").read_text(encoding="utf-8"))
    return comments
