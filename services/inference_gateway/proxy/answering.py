"""The engine's answer on its way to the client: `id` and `model` become ours, usage is read, text is kept aside.

The rest passes byte for byte. A piece of a stream goes out as soon as it is whole; nothing is held back but the
usage piece that the client did not ask for.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, ClassVar

from services.inference_gateway.proxy import errors, jsons
from services.inference_gateway.proxy.asking import ID, MODEL, quoted, string_spans, swap, swap_only
from services.inference_gateway.proxy.upstream import Garbage

DONE = b"[DONE]"
CONTENT = b'"content"'
Frame = tuple[bytes, bytes, bytes, bytes]  # before and after the text, as the engine writes it and as we do
UPSTREAM_ERROR = "upstream_error"
CLIENT_CLOSED = "client_closed"


class Answer:
    """What is known of an answer: the text of its first choice, why it ended, tokens, and when the first one came.

    `cached_tokens` are those of the prompt that the engine had computed before, where it tells; `calls`: what its pieces
    said of tools to call, as the engine wrote it (`tools.merged` reads it).
    """

    __slots__ = (
        "cached_tokens", "calls", "completion_tokens", "finish_reason", "first_token", "pieces", "prompt_tokens",
        "total_tokens",
    )  # fmt: skip

    def __init__(self, finish_reason: str = "") -> None:
        self.pieces: list[str] = []
        self.finish_reason = finish_reason
        self.prompt_tokens = self.completion_tokens = self.total_tokens = self.cached_tokens = 0
        self.first_token = 0.0
        self.calls: list[Any] = []

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def settle(self) -> None:
        """Where an answer broke off before its usage came, each piece that went out counts as the token that it is."""
        if not self.total_tokens and self.first_token:
            self.completion_tokens = self.total_tokens = len(self.pieces)

    def read_usage(self, usage: Any) -> None:
        if isinstance(usage, dict):
            self.prompt_tokens = count(usage.get("prompt_tokens"))
            self.completion_tokens = count(usage.get("completion_tokens"))
            self.total_tokens = count(usage.get("total_tokens")) or self.prompt_tokens + self.completion_tokens
            details = usage.get("prompt_tokens_details")
            self.cached_tokens = count(details.get("cached_tokens")) if isinstance(details, dict) else 0


def read_reply(raw: bytes) -> tuple[dict[str, Any], Answer]:
    """A completion that is not streamed. Raises: Garbage if it is none."""
    fields = _object(raw)
    choices = fields.get("choices")
    if not isinstance(choices, list):
        raise Garbage("its reply has no `choices`")
    answer = Answer()
    answer.read_usage(fields.get("usage"))
    for choice in choices:
        if isinstance(choice, dict) and choice.get("index", 0) == 0:
            message = choice.get("message")
            text = message.get("content") if isinstance(message, dict) else choice.get("text")
            answer.pieces.append(text if isinstance(text, str) else "")
            if isinstance(message, dict) and message.get("tool_calls"):
                answer.calls.append(message["tool_calls"])
            answer.finish_reason = str(choice.get("finish_reason") or "")
    return fields, answer


def rewrite_reply(raw: bytes, completion_id: str, model: str) -> tuple[bytes, Answer]:
    """Raises: Garbage if it is no completion."""
    fields, answer = read_reply(raw)
    return _renamed(raw, fields, completion_id, model), answer


def rewrite_embeddings(raw: bytes, model: str) -> tuple[bytes, Answer]:
    """Vectors pass as the engine gives them (floats or base64). Raises: Garbage if there are none."""
    fields = _object(raw)
    if not isinstance(fields.get("data"), list):
        raise Garbage("its reply has no `data`")
    answer = Answer(finish_reason="stop")
    answer.read_usage(fields.get("usage"))
    old = fields.get("model")
    patched = swap(raw, string_spans(raw, MODEL), old, quoted(model)) if isinstance(old, str) else None
    return patched or json.dumps(fields | {"model": model}, separators=(",", ":")).encode(), answer


class StreamRewriter:
    """Rewrites a `text/event-stream`. Feed it bytes; it returns those to send on.

    `finished` is True once the stream said `[DONE]`, or told an error of its own.

    Pieces of one stream differ in their text alone, mostly. What is around it is remembered of one piece that was parsed;
    of those that look the same only the text is read, which can be no more than a text: it has no quote and no backslash.
    `LESSONS` pieces in a row are looked at so; if none looks like another, it is left.
    """

    LESSONS: ClassVar[int] = 8  # 0 where pieces are sent on in another form

    def __init__(
        self, completion_id: str, model: str, wants_usage: bool, clock: Callable[[], float], max_event: int
    ) -> None:
        self.answer = Answer()
        self.finished = False
        self._id = completion_id
        self._model = model
        self._wants_usage = wants_usage
        self._clock = clock
        self._max_event = max_event
        self._buffer = b""
        self._swaps: list[tuple[bytes, bytes]] = []
        self._frame: Frame | None = None
        self._lessons = self.LESSONS

    def feed(self, data: bytes) -> bytes:
        """Raises: Garbage for what is no stream of completions."""
        buffer = self._buffer + data if self._buffer else data
        if b"\r" in buffer:
            buffer = buffer.replace(b"\r\n", b"\n")
        events = buffer.split(b"\n\n")
        self._buffer = events.pop()
        if len(self._buffer) > self._max_event:
            raise Garbage("one piece of its stream does not end")
        return b"".join([self._framed(event) or self._event(event) for event in events])

    def end(self) -> bytes:
        """What is still owed after the engine's last byte. Raises: Garbage if the answer is not at its end."""
        rest = self.feed(b"\n\n") if self._buffer.strip() else b""
        if self.finished:
            return rest
        if not self.answer.finish_reason:
            raise Garbage("its stream stopped before the answer was at its end")
        self.finished = True
        return rest + self._end_piece()

    def broken_off(self, message: str, code: str) -> bytes:
        """How a stream that broke says so: OpenAI's clients raise on it."""
        error = {"message": message, "type": "server_error", "param": None, "code": code}
        return b"data: " + json.dumps({"error": error}).encode() + b"\n\n"

    # -- what is sent on: another form of stream has its own ---------------------------------------------------------

    def _piece(self, payload: bytes, fields: dict[str, Any]) -> bytes:
        return b"data: " + self._swap(payload, fields) + b"\n\n"

    def _end_piece(self) -> bytes:
        return b"data: [DONE]\n\n"

    # -- below -------------------------------------------------------------------------------------------------------

    def _event(self, event: bytes) -> bytes:
        event = event.lstrip(b"\n")
        if not event.startswith(b"data:"):
            return event + b"\n\n" if event else b""  # comments, that keep the connection alive
        payload = event[5:].strip()
        if payload == DONE:
            self.finished = True
            return self._end_piece()
        fields = _object(payload)
        if "error" in fields:
            self.finished, self.answer.finish_reason = True, UPSTREAM_ERROR
            message, code, _ = errors.details(payload)
            return self.broken_off(message or "The engine behind this model failed.", code or UPSTREAM_ERROR)
        try:
            piece = self._piece(payload, fields) if self._read(fields) else b""
            if self._lessons:
                self._lessons -= 1
                self._frame = frame_of(event, piece, fields) or self._frame
        except (AttributeError, TypeError) as error:
            raise Garbage("its stream is not one of completions") from error
        return piece

    def _framed(self, event: bytes) -> bytes:
        """What is sent on of one that looks like a piece before it; empty where it does not."""
        if self._frame is None:
            return b""
        before, after, ours_before, ours_after = self._frame
        if not (event.startswith(before) and event.endswith(after)) or len(event) <= len(before) + len(after):
            return b""
        raw = event[len(before) : -len(after)]
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            return b""
        if not is_plain(text):
            return b""
        if not self.answer.first_token:
            self.answer.first_token = self._clock()
        self.answer.pieces.append(text)
        self._lessons = self.LESSONS
        return ours_before + raw + ours_after

    def _read(self, fields: dict[str, Any]) -> bool:
        """Takes from one piece what is worth knowing. False for a usage piece that nobody asked for."""
        choices = fields.get("choices")
        if fields.get("usage"):
            self.answer.read_usage(fields["usage"])
            if not choices and not self._wants_usage:
                return False
        for choice in choices or ():
            delta = choice.get("delta") or choice
            text = delta.get("content") if delta is not choice else choice.get("text")
            if not self.answer.first_token and (text or delta.get("tool_calls") or delta.get("reasoning_content")):
                self.answer.first_token = self._clock()
            if choice.get("index", 0) == 0:
                if text and isinstance(text, str):
                    self.answer.pieces.append(text)
                elif delta.get("tool_calls"):
                    self.answer.calls.append(delta["tool_calls"])
                self.answer.finish_reason = choice.get("finish_reason") or self.answer.finish_reason
        return True

    def _swap(self, payload: bytes, fields: dict[str, Any]) -> bytes:
        """All pieces of a stream spell `id` and `model` alike: what was found in the first is replaced in the rest."""
        if not self._swaps:
            self._swaps = _learn(payload, self._id, self._model)
        for old, new in self._swaps:
            if payload.count(old) != 1:
                break
            payload = payload.replace(old, new)
        else:
            if self._swaps:
                return payload
        return _renamed(payload, fields, self._id, self._model)


def is_plain(text: str) -> bool:
    """Whether it is spelt in JSON as it is: no control characters, and nothing that ends or escapes a string."""
    return text.isprintable() and '"' not in text and "\\" not in text


def frame_of(event: bytes, piece: bytes, fields: dict[str, Any]) -> Frame | None:
    """What is before and after the text of an event, and of the piece that it became. None where there is more to read
    in such pieces than their text, or none of it.
    """
    choices = fields.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or fields.get("usage"):
        return None
    choice = choices[0]
    delta = choice.get("delta")
    if choice.get("index", 0) != 0 or choice.get("finish_reason") or not isinstance(delta, dict) or len(delta) != 1:
        return None
    text = delta.get("content")
    if not isinstance(text, str) or not text or not is_plain(text):
        return None
    theirs, ours = string_spans(event, CONTENT), string_spans(piece, CONTENT)
    if len(theirs) != 1 or len(ours) != 1:
        return None
    (start, end), (ours_start, ours_end) = theirs[0], ours[0]
    return event[: start + 1], event[end - 1 :], piece[: ours_start + 1], piece[ours_end - 1 :]


def _learn(payload: bytes, completion_id: str, model: str) -> list[tuple[bytes, bytes]]:
    """(as the engine writes it, as we do) for `"id": "…"` and `"model": "…"`; nothing where that is not plain."""
    swaps = []
    for key, value in ((ID, completion_id), (MODEL, model)):
        spans = string_spans(payload, key)
        if len(spans) != 1:
            return []
        start, end = spans[0]
        key_start = payload.rindex(key, 0, start)
        swaps.append((payload[key_start:end], payload[key_start:start] + json.dumps(value).encode()))
    return swaps


def _renamed(raw: bytes, fields: dict[str, Any], completion_id: str, model: str) -> bytes:
    old_id, old_model = fields.get("id"), fields.get("model")
    if isinstance(old_id, str) and isinstance(old_model, str):
        patched = _swapped(raw, ID, old_id, b'"%b"' % completion_id.encode())
        patched = _swapped(patched, MODEL, old_model, quoted(model)) if patched is not None else None
        if patched is not None:
            return patched
    return json.dumps(fields | {"id": completion_id, "model": model}, separators=(",", ":")).encode()


def _swapped(raw: bytes, key: bytes, old: str, new: bytes) -> bytes | None:
    plainly = swap_only(raw, key, old, new)
    return plainly if plainly is not None else swap(raw, string_spans(raw, key), old, new)


def _object(raw: bytes) -> dict[str, Any]:
    try:
        fields = jsons.answered(raw)
    except (ValueError, RecursionError) as error:
        raise Garbage("its reply is not valid JSON") from error
    if not isinstance(fields, dict):
        raise Garbage("its reply is not a JSON object")
    return fields


def count(value: Any) -> int:
    """What an engine counted; 0 for what can be no count."""
    return value if isinstance(value, int) and 0 <= value < 2**31 else 0
