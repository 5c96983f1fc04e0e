"""`multipart/form-data` (RFC 7578) that lies in a file: where each part begins and ends. Pure, and nothing is copied."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesHeaderParser
from pathlib import Path

MOST_PARTS = 16
MOST_HEADER_BYTES = 8 * 1024
PIECE = 1024 * 1024
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class BadForm(ValueError):
    """The body is not a form, or not a whole one."""


@dataclass(frozen=True)
class FormPart:
    """One field: bytes `start` to `end` of the file. `filename` is empty where the field is no file."""

    name: str
    filename: str
    start: int
    end: int


def parts_of(path: Path, content_type: str) -> list[FormPart]:
    """Raises: BadForm, saying what is missing."""
    marker = b"--" + _boundary(content_type)
    if not path.stat().st_size:
        raise BadForm("the body is empty")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as body:
        return list(_parts(body, marker))


def read(path: Path, part: FormPart, most: int) -> bytes:
    """The first `most` bytes of a part."""
    with path.open("rb") as file:
        file.seek(part.start)
        return file.read(min(most, part.end - part.start))


def pieces(path: Path, part: FormPart) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(part.start)
        left = part.end - part.start
        while left and (piece := file.read(min(PIECE, left))):
            left -= len(piece)
            yield piece


def _parts(body: mmap.mmap, marker: bytes) -> Iterator[FormPart]:
    if body[: len(marker)] != marker:
        raise BadForm("the body does not begin with the boundary")
    at = len(marker)
    for _ in range(MOST_PARTS):
        if body[at : at + 2] == b"--":
            return
        start = body.find(b"\r\n\r\n", at, at + MOST_HEADER_BYTES)
        end = body.find(b"\r\n" + marker, max(start, at))
        if start < 0 or end < 0:
            raise BadForm("a field has no end")
        yield _part(body[at + 2 : start], start + 4, max(end, start + 4))
        at = end + 2 + len(marker)
    raise BadForm(f"there are more than {MOST_PARTS} fields")


def _part(head: bytes, start: int, end: int) -> FormPart:
    headers: Message = BytesHeaderParser().parsebytes(head)
    name = headers.get_param("name", header="content-disposition")
    if not isinstance(name, str):
        raise BadForm("a field has no name")
    filename = headers.get_filename("") or ""
    filename = filename.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return FormPart(name, CONTROL.sub("", filename.replace("\\", "/").rsplit("/", 1)[-1])[:255], start, end)


def _boundary(content_type: str) -> bytes:
    header = Message()
    header["content-type"] = CONTROL.sub("", content_type)
    boundary = header.get_param("boundary")
    if header.get_content_type() != "multipart/form-data" or not isinstance(boundary, str) or not boundary:
        raise BadForm("the body must be multipart/form-data with a boundary")
    return boundary.encode("latin-1", "replace")
