"""What the protos' comments say, by full name: `gyre.dataset.v1.Version.digest` → "`sha256:<hex>` over …"."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

Path = tuple[int, ...]
# Field numbers of descriptor.proto, out of which SourceCodeInfo makes its paths.
MESSAGES, ENUMS, SERVICES = 4, 5, 6
FIELDS, NESTED_MESSAGES, NESTED_ENUMS, VALUES, METHODS = 2, 3, 4, 2, 2


def comments(protos: FileDescriptorSet) -> dict[str, str]:
    """Leading comments of Gyre's own messages, fields, enums, values, services and methods, sorted by name."""
    found: dict[str, str] = {}
    for file in protos.file:
        if file.package.startswith("gyre."):
            by_path = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}
            found.update({name: " ".join(by_path[path].split()) for path, name in _names(file) if by_path.get(path)})
    return dict(sorted(found.items()))


def _names(file: FileDescriptorProto) -> Iterator[tuple[Path, str]]:
    for index, message in enumerate(file.message_type):
        yield from _message(message, (MESSAGES, index), file.package)
    for index, enum in enumerate(file.enum_type):
        yield from _enum(enum, (ENUMS, index), file.package)
    for index, service in enumerate(file.service):
        yield from _service(service, (SERVICES, index), file.package)


def _message(message: DescriptorProto, path: Path, scope: str) -> Iterator[tuple[Path, str]]:
    name = f"{scope}.{message.name}"
    yield path, name
    for index, field in enumerate(message.field):
        yield (*path, FIELDS, index), f"{name}.{field.name}"
    for index, nested in enumerate(message.nested_type):
        yield from _message(nested, (*path, NESTED_MESSAGES, index), name)
    for index, enum in enumerate(message.enum_type):
        yield from _enum(enum, (*path, NESTED_ENUMS, index), name)


def _enum(enum: EnumDescriptorProto, path: Path, scope: str) -> Iterator[tuple[Path, str]]:
    name = f"{scope}.{enum.name}"
    yield path, name
    for index, value in enumerate(enum.value):
        yield (*path, VALUES, index), f"{name}.{value.name}"


def _service(service: ServiceDescriptorProto, path: Path, scope: str) -> Iterator[tuple[Path, str]]:
    name = f"{scope}.{service.name}"
    yield path, name
    for index, method in enumerate(service.method):
        yield (*path, METHODS, index), f"{name}.{method.name}"
