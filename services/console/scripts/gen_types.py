"""Writes src/api/types.gen.ts: the resources of every component as TypeScript, from the generated Python messages.

Run as `.venv/bin/python services/console/scripts/gen_types.py` after `make gen`. The shapes follow proto3 JSON with
proto field names, defaults printed: 64-bit integers, timestamps and durations are strings, an unset message or
`optional` field is missing or null. Requests, replies and events are left out: the console builds requests by hand, field by
field, and reads no event.
"""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, FileDescriptor

ROOT = Path(__file__).resolve().parents[3]
TARGET = Path(__file__).resolve().parents[1] / "src" / "api" / "types.gen.ts"
HEADER = "// Generated from proto/ by scripts/gen_types.py. Not edited by hand.\n"

# Names that two components share, told apart.
RENAMED = {
    "gyre.dataset.v1.Version": "DatasetVersion",
    "gyre.dataset.v1.Pin": "DatasetPin",
    "gyre.dataset.v1.ChatMessage": "ChatMessage",
    "gyre.model_registry.v1.Version": "ModelVersion",
    "gyre.model_registry.v1.Pin": "ModelPin",
    "gyre.inference_gateway.v1.ChatMessage": "CompletionMessage",
    "gyre.inference_gateway.v1.Usage": "TokenUsage",
    "gyre.feedback.v1.ChatMessage": "FeedbackMessage",
    "gyre.gpu_scheduler.v1.Usage": "WorkloadUsage",
}
WELL_KNOWN = {
    "google.protobuf.Timestamp": "string",
    "google.protobuf.Duration": "string",
    "google.protobuf.Struct": "Record<string, unknown>",
}
# Of no use to a browser: the trainers' and the proxy's side of a contract.
LEFT_OUT = re.compile(r"(Request|Response|UploadHeader|LogChunk|KeyHash)$")
WORDS = {
    FieldDescriptor.CPPTYPE_BOOL: "boolean",
    FieldDescriptor.CPPTYPE_STRING: "string",
    FieldDescriptor.CPPTYPE_INT64: "string",
    FieldDescriptor.CPPTYPE_UINT64: "string",
}


def main() -> None:
    sys.path.insert(0, str(ROOT / "libs"))
    files = [
        describe(path) for path in sorted((ROOT / "proto").glob("gyre/*/v1/*.proto")) if path.name != "events.proto"
    ]
    messages = [message for file in files for message in file.message_types_by_name.values() if wanted(message)]
    check_unique(messages)
    parts = [enum_type(enum) for file in files for enum in enums(file)]
    parts += [interface(message) for message in messages]
    TARGET.write_text(HEADER + "\n" + "\n".join(parts), "utf-8")


def describe(path: Path) -> FileDescriptor:
    module = path.relative_to(ROOT / "proto").with_suffix("").as_posix().replace("/", ".") + "_pb2"
    file: FileDescriptor = importlib.import_module(module).DESCRIPTOR
    return file


def wanted(message: Descriptor) -> bool:
    return not LEFT_OUT.search(message.full_name)


def check_unique(messages: list[Descriptor]) -> None:
    seen: dict[str, str] = {}
    for message in messages:
        other = seen.setdefault(type_name(message), message.full_name)
        if other != message.full_name:
            sys.exit(f"{message.full_name} and {other} share the name {type_name(message)}: add one to RENAMED")


def enums(file: FileDescriptor) -> list[EnumDescriptor]:
    nested = [enum for message in file.message_types_by_name.values() if wanted(message) for enum in message.enum_types]
    return [*file.enum_types_by_name.values(), *nested]


def enum_type(enum: EnumDescriptor) -> str:
    values = "".join(f'\n  | "{value.name}"' for value in enum.values)
    return f"export type {type_name(enum)} ={values};\n"


def interface(message: Descriptor) -> str:
    fields = "".join(f"  {field_line(field)}\n" for field in message.fields)
    return f"export interface {type_name(message)} {{\n{fields}}}\n"


def field_line(field: FieldDescriptor) -> str:
    if field.has_presence:
        return f"{field.name}?: {field_type(field)} | null;"
    return f"{field.name}: {field_type(field)};"


def field_type(field: FieldDescriptor) -> str:
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        return f"Record<string, {value_type(entry.fields_by_name['value'])}>"
    return f"{value_type(field)}[]" if field.is_repeated else value_type(field)


def value_type(field: FieldDescriptor) -> str:
    if field.enum_type is not None:
        return type_name(field.enum_type)
    if field.message_type is not None:
        return WELL_KNOWN.get(field.message_type.full_name) or type_name(field.message_type)
    return WORDS.get(field.cpp_type, "number")


def type_name(described: Descriptor | EnumDescriptor) -> str:
    """`Run.State` becomes RunState; a name in RENAMED keeps its new name in what it encloses too."""
    if described.containing_type is not None:
        return type_name(described.containing_type) + described.name
    return RENAMED.get(described.full_name, described.name)


if __name__ == "__main__":
    main()
