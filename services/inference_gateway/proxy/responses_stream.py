"""A chat completion's stream as the typed events of the Responses API, in OpenAI's order:

response.created, response.in_progress, then for each item of the output: output_item.added, (content_part.added,)
deltas, done, (content_part.done,) output_item.done; at the end response.completed, .incomplete or .failed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from services.inference_gateway.proxy import responses, ulid
from services.inference_gateway.proxy.answering import StreamRewriter
from services.inference_gateway.proxy.asking import Asking
from services.inference_gateway.proxy.responses import Fields
from services.inference_gateway.proxy.upstream import Garbage

TEXT, THOUGHT, CALL = "message", "reasoning", "function_call"
ID_PREFIX = {TEXT: "msg_", THOUGHT: "rs_", CALL: "fc_"}
EVENT = {TEXT: "output_text", THOUGHT: "reasoning_text", CALL: "function_call_arguments"}
PART = {TEXT: responses.text_part, THOUGHT: responses.reasoning_part}


@dataclass(slots=True)
class _Item:
    """One item of the output while it grows. `call` is the engine's, with its name and id; `number` its index."""

    kind: str
    index: int
    id: str
    number: int = 0
    call: Fields = field(default_factory=dict)
    pieces: list[str] = field(default_factory=list)

    def as_fields(self, status: str) -> Fields:
        text = "".join(self.pieces)
        if self.kind == CALL:
            return responses.function_call(self.call, text, status, self.id)
        make = responses.message if self.kind == TEXT else responses.reasoning
        return make(text, status, self.id)


class ResponseStream(StreamRewriter):
    """Reads what every stream of completions says, and writes events of its own for it."""

    LESSONS = 0

    def __init__(self, response_id: str, ask: Asking, clock: Callable[[], float], max_event: int) -> None:
        super().__init__(response_id, ask.model, True, clock, max_event)  # the usage piece is for our last event
        self._ask = ask
        self._created = int(time.time())
        self._sequence = 0
        self._usage: Any = None
        self._output: list[Fields] = []
        self._open: _Item | None = None

    def broken_off(self, message: str, code: str) -> bytes:
        body = self._response("failed") | {"error": {"code": "server_error", "message": message}}
        return self._begun() + self._event_of("response.failed", response=body)

    def _piece(self, payload: bytes, fields: dict[str, Any]) -> bytes:
        out = [self._begun()]
        self._usage = fields.get("usage") or self._usage
        for choice in fields.get("choices") or ():
            delta = choice.get("delta") or {}
            if thought := delta.get("reasoning_content"):
                out += self._grow(self._of(THOUGHT, out), thought)
            if text := delta.get("content"):
                out += self._grow(self._of(TEXT, out), text)
            for call in delta.get("tool_calls") or ():
                item = self._of(CALL, out, call.get("index", 0), call)
                out += self._grow(item, (call.get("function") or {}).get("arguments") or "")
        return b"".join(out)

    def _end_piece(self) -> bytes:
        out = [self._begun()]
        if not self._output and self._open is None:
            self._of(TEXT, out)  # an empty answer is a message too
        out += self._close()
        status = "incomplete" if self.answer.finish_reason in responses.INCOMPLETE else "completed"
        out.append(self._event_of(f"response.{status}", response=self._response(status)))
        return b"".join(out)

    # -- one item after another --------------------------------------------------------------------------------------

    def _of(self, kind: str, out: list[bytes], number: int = 0, call: Fields | None = None) -> _Item:
        """The item that a piece belongs to; what is new closes what was open. Raises: Garbage."""
        item = self._open
        if item is not None and (item.kind, item.number) == (kind, number):
            return item
        if kind == CALL and not (call and (call.get("function") or {}).get("name")):
            raise Garbage("its stream has a tool call without a name, or two that are mixed")
        out += self._close()
        item = self._open = _Item(kind, len(self._output), f"{ID_PREFIX[kind]}{ulid.new()}", number)
        if call is not None:
            item.call = call | {"id": call.get("id") or f"call_{ulid.new()}"}
        added = item.as_fields("in_progress")
        out.append(self._event_of("response.output_item.added", output_index=item.index, item=added))
        if kind in PART:
            out.append(self._item_event("response.content_part.added", item, part=PART[kind]("")))
        return item

    def _grow(self, item: _Item, text: Any) -> list[bytes]:
        if not text:
            return []
        if not isinstance(text, str):
            raise Garbage("a piece of its stream is no text")
        item.pieces.append(text)
        logprobs: Fields = {"logprobs": []} if item.kind == TEXT else {}
        return [self._item_event(f"response.{EVENT[item.kind]}.delta", item, delta=text, **logprobs)]

    def _close(self) -> list[bytes]:
        item, self._open = self._open, None
        if item is None:
            return []
        text = "".join(item.pieces)
        cut = self.answer.finish_reason in responses.INCOMPLETE
        done = item.as_fields("incomplete" if cut else "completed")
        self._output.append(done)
        name = f"response.{EVENT[item.kind]}.done"
        if item.kind == CALL:
            out = [self._item_event(name, item, name=done["name"], arguments=text)]
        else:
            logprobs: Fields = {"logprobs": []} if item.kind == TEXT else {}
            out = [
                self._item_event(name, item, text=text, **logprobs),
                self._item_event("response.content_part.done", item, part=PART[item.kind](text)),
            ]
        return [*out, self._event_of("response.output_item.done", output_index=item.index, item=done)]

    # -- events ------------------------------------------------------------------------------------------------------

    def _begun(self) -> bytes:
        """The two events before all others, once."""
        if self._sequence:
            return b""
        body = self._response("in_progress")
        created = self._event_of("response.created", response=body)
        return created + self._event_of("response.in_progress", response=body)

    def _response(self, status: str) -> Fields:
        reason = self.answer.finish_reason if status == "incomplete" else ""
        return responses.response(self._id, self._ask, self._created, status, list(self._output), self._usage, reason)

    def _item_event(self, kind: str, item: _Item, **fields: Any) -> bytes:
        at: Fields = {"item_id": item.id, "output_index": item.index}
        if item.kind != CALL:
            at["content_index"] = 0
        return self._event_of(kind, **at, **fields)

    def _event_of(self, kind: str, **fields: Any) -> bytes:
        data = json.dumps({"type": kind, "sequence_number": self._sequence, **fields}, separators=(",", ":"))
        self._sequence += 1
        return f"event: {kind}\ndata: {data}\n\n".encode()
