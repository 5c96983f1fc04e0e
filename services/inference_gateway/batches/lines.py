"""Lines of a batch's input file, as OpenAI has them: checked one by one, by number. Pure but for reading the file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENDPOINTS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses")
LONGEST_ID = 512
MOST_ERRORS = 100
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Line:
    """`number` counts from 1 as an editor does; `body` is the request, as JSON."""

    number: int
    custom_id: str
    body: bytes


@dataclass(frozen=True)
class Bounds:
    """`line_bytes`: a request that the gateway would refuse for its length is refused here."""

    lines: int
    line_bytes: int


class BadLine(Exception):
    """`code`, `param`: for programs."""

    def __init__(self, line: int, code: str, message: str, param: str = "") -> None:
        super().__init__(message)
        self.error: dict[str, Any] = {"line": line, "code": code, "message": message, "param": param}


def check(path: Path, endpoint: str, bounds: Bounds) -> tuple[int, list[dict[str, Any]]]:
    """How many requests there are, and what is wrong with them: at most 100 things, each a dict like `LineError`."""
    count, errors, seen = 0, [], set()
    for number, raw in _raw(path, bounds.line_bytes):
        count += 1
        if count > bounds.lines:
            most = f"A batch has at most {bounds.lines:,} requests. Split the file."
            return count, [BadLine(0, "too_many_requests", most).error]
        try:
            line = _parse(number, raw, endpoint, bounds.line_bytes)
            if line.custom_id in seen:
                raise BadLine(number, "duplicate_custom_id", "An earlier line has this custom_id.", "custom_id")
            seen.add(line.custom_id)
        except BadLine as error:
            errors.append(error.error)
            if len(errors) >= MOST_ERRORS:
                break
    if not count:
        errors.append(BadLine(0, "empty_file", "The file has no request.").error)
    return count, errors


def lines(path: Path, endpoint: str, bounds: Bounds) -> Iterator[Line]:
    """Of a file that was checked."""
    for number, raw in _raw(path, bounds.line_bytes):
        yield _parse(number, raw, endpoint, bounds.line_bytes)


def _raw(path: Path, most: int) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of each line that is not blank; of one that is too long, the beginning."""
    with path.open("rb") as file:
        number, rest = 0, False
        while raw := file.readline(most + 2):
            was_rest, rest = rest, not raw.endswith(b"\n")
            if was_rest:
                continue
            number += 1
            if number == 1:
                raw = raw.removeprefix(BOM)
            if raw.strip():
                yield number, raw


def _parse(number: int, raw: bytes, endpoint: str, most: int) -> Line:
    """Raises: BadLine."""
    if len(raw) > most:
        raise BadLine(number, "line_too_long", f"A line may have {most:,} bytes.")
    try:
        fields = json.loads(raw.decode())
    except (ValueError, RecursionError) as error:
        raise BadLine(number, "invalid_json_line", "This line is not a JSON object in UTF-8.") from error
    if not isinstance(fields, dict):
        raise BadLine(number, "invalid_json_line", "This line is not a JSON object in UTF-8.")
    custom_id, body = fields.get("custom_id"), fields.get("body")
    if not isinstance(custom_id, str) or not 0 < len(custom_id) <= LONGEST_ID:
        message = f"custom_id must be a string of 1 to {LONGEST_ID} characters."
        raise BadLine(number, "invalid_custom_id", message, "custom_id")
    if fields.get("method") != "POST":
        raise BadLine(number, "invalid_method", "method must be POST.", "method")
    if fields.get("url") != endpoint:
        raise BadLine(number, "invalid_url", f"url must be {endpoint}, the batch's endpoint.", "url")
    if not isinstance(body, dict) or not isinstance(body.get("model"), str) or not body["model"]:
        raise BadLine(number, "invalid_body", "body must be an object with a model.", "body")
    if body.get("stream"):
        raise BadLine(number, "invalid_body", "What a batch asks cannot be streamed.", "body.stream")
    return Line(number, custom_id, json.dumps(body, separators=(",", ":")).encode())
