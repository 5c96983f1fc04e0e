"""What a project's guardrails do to texts: marks in place of personal data on the way out, put back on the way in, and
marks in answers. An answer that comes in pieces is held back no longer than a match in it could still grow.

Engines are read and written here, before any dialect: a completion that is whole, or a stream of its pieces.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from services.inference_gateway.proxy import redaction

LONGEST_WORD = 512  # characters: what is longer and has no space in it is passed on
LONGEST_NUMBER = 64  # with its spaces
DONE = b"[DONE]"
MARK = re.compile(r"\[(?:email|phone|id|card|iban|ip|key)_\d{1,6}\]")
OPEN_MARK = re.compile(r"\[(?:[a-z]{0,5}|[a-z]{2,5}_\d{0,6})\Z")
NUMBERISH = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ ().-+")
Fields = dict[str, Any]
Found = Callable[[str], None]  # hears of what kind something was found


class Marks:
    """Of one request: the same value has the same mark throughout, and no mark is one that the text had before."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._of: dict[tuple[str, str], str] = {}
        self.values: dict[str, str] = {}  # by mark

    @property
    def kinds(self) -> list[str]:
        return sorted({kind for kind, _ in self._of})

    def mark(self, kind: str, value: str) -> str:
        known = self._of.get((kind, value))
        if known is not None:
            return known
        number = 1 + sum(1 for each, _ in self._of if each == kind)
        while (mark := f"[{kind}_{number}]") in self._text or mark in self.values:
            number += 1
        self._of[kind, value] = mark
        self.values[mark] = value
        return mark

    def replaced(self, fields: Fields) -> Fields:
        """A request without personal data in what it says."""
        return fields | {name: self._within(fields[name]) for name in SAID if name in fields}

    def _within(self, value: Any) -> Any:
        """Every text; what JSON names things by stays, and so do addresses of pictures, which hold their bytes."""
        if isinstance(value, str):
            return redaction.replaced(value, self.mark)
        if isinstance(value, dict):
            return {name: each if name in NAMES else self._within(each) for name, each in value.items()}
        if isinstance(value, list):
            return [self._within(each) for each in value]
        return value


SAID = ("messages", "prompt", "suffix", "input", "user", "metadata")
NAMES = frozenset({"role", "type", "id", "tool_call_id", "name", "image_url", "input_audio", "file"})


class Lane:
    """One text that comes in pieces. `feed` returns what of it can go on, `end` the rest."""

    def __init__(self, values: dict[str, str], found: Found | None, in_json: bool = False) -> None:
        """`values` by the marks that are put back; `found` hears of what is marked anew, None: nothing is."""
        self._values = values
        self._found = found
        self._in_json = in_json
        self._held = ""

    def feed(self, text: str) -> str:
        held = self._held + text
        cut = _start_of_open_mark(held) if self._values else len(held)
        if self._found is not None:
            cut = min(cut, _start_of_unfinished(held))
        self._held = held[cut:]
        return self._passed(held[:cut])

    def end(self) -> str:
        held, self._held = self._held, ""
        return self._passed(held)

    def _passed(self, text: str) -> str:
        if self._found is not None and text:
            text = redaction.replaced(text, self._mark)
        return MARK.sub(self._value, text) if self._values and "[" in text else text

    def _mark(self, kind: str, _: str) -> str:
        if self._found is not None:
            self._found(kind)
        return f"[{kind}]"

    def _value(self, found: re.Match[str]) -> str:
        value = self._values.get(found[0], found[0])
        return json.dumps(value, ensure_ascii=False)[1:-1] if self._in_json else value


def _start_of_open_mark(text: str) -> int:
    found = OPEN_MARK.search(text, max(0, len(text) - 14))
    return found.start() if found else len(text)


def _start_of_unfinished(text: str) -> int:
    """Where the last word begins, with the number before it if there is one: either could go on to be something."""
    end = len(text)
    start, least = end, max(0, end - LONGEST_WORD)
    while start > least and "!" <= text[start - 1] <= "~":
        start -= 1
    if start == least and start > 0:
        return end  # no personal data is that long
    least = max(0, start - LONGEST_NUMBER)
    while start > least and text[start - 1] in NUMBERISH:
        start -= 1
    return start


class AnswerFilter:
    """Of one answer: gives back what was taken out of the prompt, and marks what is found in the answer itself."""

    def __init__(self, values: dict[str, str], found: Found | None) -> None:
        self._values = values
        self._found = found
        self._lanes: dict[tuple[Any, ...], Lane] = {}
        self._buffer = b""

    def whole(self, raw: bytes) -> bytes:
        """An answer that is not streamed; what is none goes on as it is, to be refused by who reads it."""
        try:
            fields = json.loads(raw)
            for choice in fields["choices"]:
                message = choice.get("message")
                self._filter(choice, choice if message is None else message, True)
        except (ValueError, KeyError, TypeError, AttributeError):
            return raw
        return _written(fields)

    def feed(self, data: bytes) -> bytes:
        """Pieces of a stream, as they come from the network."""
        events = (self._buffer + data).replace(b"\r\n", b"\n").split(b"\n\n")
        self._buffer = events.pop()
        return b"".join([self._event(event) for event in events])

    def end(self) -> bytes:
        rest, self._buffer = self._buffer, b""
        return self._event(rest) if rest.strip() else rest

    def _event(self, event: bytes) -> bytes:
        payload = event.strip()[5:].strip() if event.lstrip().startswith(b"data:") else b""
        if not payload or payload == DONE:
            return event + b"\n\n"
        try:
            fields = json.loads(payload)
            for choice in fields.get("choices") or ():
                delta = choice.get("delta")
                self._filter(choice, choice if delta is None else delta, bool(choice.get("finish_reason")))
        except (ValueError, TypeError, AttributeError):
            return event + b"\n\n"
        return b"data: " + _written(fields) + b"\n\n"

    def _filter(self, choice: Fields, said: Fields, is_last: bool) -> None:
        index = choice.get("index", 0)
        for name in ("content", "text", "reasoning_content"):
            lane = self._lanes.get((index, name))
            if isinstance(said.get(name), str):
                lane = lane or self._lane((index, name))
                said[name] = lane.feed(said[name])
            if is_last and lane is not None:
                said[name] = (said.get(name) or "") + lane.end()
        self._filter_calls(index, said, is_last)
        if self._found is not None:
            choice.pop("logprobs", None)  # they spell the answer once more

    def _filter_calls(self, index: Any, said: Fields, is_last: bool) -> None:
        calls = said.get("tool_calls") or []
        for position, call in enumerate(calls):
            function = call.get("function")
            if isinstance(function, dict) and isinstance(function.get("arguments"), str):
                lane = self._lane((index, "call", call.get("index", position)))
                function["arguments"] = lane.feed(function["arguments"])
                if is_last:
                    function["arguments"] += lane.end()
        if is_last:
            owed = [(key[2], lane.end()) for key, lane in self._lanes.items() if key[:2] == (index, "call")]
            rest = [{"index": at, "function": {"arguments": text}} for at, text in owed if text]
            if rest:
                said["tool_calls"] = [*calls, *rest]

    def _lane(self, key: tuple[Any, ...]) -> Lane:
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(self._values, self._found, in_json=key[1] == "call")
        return lane


def _written(fields: Fields) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()
