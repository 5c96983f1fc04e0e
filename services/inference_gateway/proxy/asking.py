"""The client's request: what the gateway reads of it, and how it is handed on.

Bodies go on byte for byte but for `model`, and `stream_options.include_usage`, which records need. Both are patched in
the text where that is plainly safe; else the parsed body is written anew, which says the same.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

from services.inference_gateway.proxy import bounds, jsons, tools
from services.inference_gateway.proxy.errors import bad_request, invalid_json

# `gen_ai.operation.name` of OpenTelemetry; `engines/wire.py` has the path of each.
CHAT = "chat"
TEXT = "text_completion"
EMBEDDINGS = "embeddings"

# A key that is spelt with escapes (`"mod\u0065l"`) could hide from the pattern: such a body is written anew.
ESCAPED_LETTER = re.compile(rb"\\u00[67]")
USAGE_OPTION = b'"stream_options":{"include_usage":true},'


class Asking:
    """What one request asks of an engine. `model` still has its `@version`, if the client gave one. `template` is what
    it says of a prompt that is kept here, until `templates.fill` made it whole; `prompt` then names the version."""

    def __init__(
        self, operation: str, raw: bytes, fields: dict[str, Any], model: str, stream: bool, wants_usage: bool
    ) -> None:
        self.operation = operation
        self.raw = raw
        self.fields = fields
        self.model = model
        self.stream = stream
        self.wants_usage = wants_usage
        self.template: Any = None
        self.prompt = ""

    @property
    def may_keep(self) -> bool:
        """False for what is no text, and where the client itself says `store: false`."""
        return self.operation != EMBEDDINGS and self.fields.get("store") is not False

    def body_for(self, upstream_model: str, stream_usage: bool, lora: list[dict[str, Any]] | None = None) -> bytes:
        """What the engine gets. `stream_usage`: it knows `stream_options`. `lora`: how much each of its adapters counts,
        whatever the client itself says of them.
        """
        force = self.stream and stream_usage and not self.wants_usage
        if upstream_model == self.model and not force and lora is None and self._says_model_once():
            return self.raw
        body = _swapped(self.raw, self.model, upstream_model) if self._patchable(force, lora is not None) else None
        if body is None:
            return self._written_anew(upstream_model, force, lora)
        if lora is not None:
            body = body.replace(b"{", b'{"lora":%b,' % json.dumps(lora).encode(), 1)
        return body.replace(b"{", b"{" + USAGE_OPTION, 1) if force else body

    def _says_model_once(self) -> bool:
        """Nobody who reads it can take it for another model's: the key is there once, and not spelt with escapes."""
        return self.raw.count(MODEL) == 1 and not self._hides_keys()

    def _hides_keys(self) -> bool:
        return b"\\" in self.raw and ESCAPED_LETTER.search(self.raw) is not None

    def _patchable(self, force: bool, adapted: bool) -> bool:
        return (
            self.raw[:1] == b"{"
            and not self._hides_keys()
            and not (force and b'"stream_options"' in self.raw)
            and not (adapted and b'"lora"' in self.raw)
        )

    def _written_anew(self, upstream_model: str, force: bool, lora: list[dict[str, Any]] | None) -> bytes:
        fields = self.fields | {"model": upstream_model}
        if lora is not None:
            fields["lora"] = lora
        if force:
            fields["stream_options"] = (fields.get("stream_options") or {}) | {"include_usage": True}
        return json.dumps(fields, separators=(",", ":")).encode()

    def messages(self) -> list[dict[str, Any]] | None:
        """The conversation as text, or None where it has none (token ids, several prompts at once)."""
        if self.operation == CHAT:
            return [_message(each) for each in self.fields["messages"] if isinstance(each, dict)]
        prompt = self.fields.get("prompt")
        if isinstance(prompt, list) and len(prompt) == 1:
            prompt = prompt[0]
        return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else None

    def prefix(self) -> bytes:
        """The beginning of the prompt, for engines keep what they computed of it: the first message, or its head. Empty
        where nothing is kept.
        """
        if self.operation == EMBEDDINGS:
            return b""
        first = self.fields["messages"][0].get("content") if self.operation == CHAT else self.fields.get("prompt")
        text = first if isinstance(first, str) else json.dumps(first)
        return text[:PREFIX_CHARACTERS].encode("utf-8", "surrogatepass")

    def parameters(self) -> dict[str, Any]:
        """All but the conversation."""
        return {name: value for name, value in self.fields.items() if name not in ("messages", "prompt")}


def parse_chat(body: bytes) -> Asking:
    """Raises: ApiError 400 that names the field."""
    fields = load(body)
    template = fields.get("prompt")
    if not isinstance(template, dict):
        _check_messages(fields.get("messages"))
        return completion(CHAT, body, fields)
    if fields.get("messages"):
        _check_messages(fields["messages"])
    asking = completion(CHAT, body, fields)
    asking.template = template
    return asking


def parse_text(body: bytes) -> Asking:
    """Raises: ApiError 400 that names the field."""
    fields = load(body)
    if "prompt" not in fields:
        raise bad_request("prompt_required", "`prompt` is missing: give the text to continue.", "prompt")
    return completion(TEXT, body, fields)


def parse_embeddings(body: bytes) -> Asking:
    """Raises: ApiError 400 that names the field."""
    fields = load(body)
    given = fields.get("input")
    if not _is_one(given) and not (isinstance(given, list) and given and all(map(_is_one, given))):
        what = "`input` must be a text, a list of texts, a list of token ids, or a list of such lists; none empty."
        raise bad_request("invalid_type", what, "input")
    return Asking(EMBEDDINGS, body, fields, named_model(fields), stream=False, wants_usage=False)


def completion(operation: str, raw: bytes, fields: dict[str, Any]) -> Asking:
    """What chat and text completions have in common. Raises: ApiError 400 that names the field."""
    stream = is_stream(fields)
    options = fields.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise bad_request("invalid_type", "`stream_options` must be an object.", "stream_options")
    if options is not None and not stream:
        raise bad_request("invalid_value", "`stream_options` goes with `stream: true` only.", "stream_options")
    bounds.check(fields)
    wants_usage = bool(options and options.get("include_usage"))
    return Asking(operation, raw, fields, named_model(fields), stream, wants_usage)


def named_model(fields: dict[str, Any]) -> str:
    model = fields.get("model")
    if not isinstance(model, str) or not model:
        raise bad_request("model_required", "Say which model: `model` is the name of a deployment.", "model")
    return model


def is_stream(fields: dict[str, Any]) -> bool:
    stream = fields.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise bad_request("invalid_type", "`stream` must be true or false.", "stream")
    return bool(stream)


def _is_one(value: Any) -> bool:
    """A text, or one as token ids; not empty."""
    if isinstance(value, list):
        return bool(value) and all(type(each) is int and each >= 0 for each in value)
    return isinstance(value, str) and value != ""


def _check_messages(messages: Any) -> None:
    if not isinstance(messages, list) or not messages:
        example = '[{"role": "user", "content": "Hello"}]'
        raise bad_request("messages_required", f"`messages` must be a list like {example}.", "messages")
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            where = f"messages[{index}]"
            raise bad_request("invalid_message", f"`{where}` must be an object with `role` and `content`.", where)


def load(body: bytes) -> dict[str, Any]:
    """The object in a body. Raises: ApiError 400 that says where it goes wrong."""
    if not body:
        raise invalid_json("it is empty")
    try:
        fields = jsons.asked(body)
    except json.JSONDecodeError as wrong:
        raise invalid_json(f"{wrong.msg} at line {wrong.lineno}, column {wrong.colno}") from wrong
    except UnicodeDecodeError as other:
        raise invalid_json(f"byte {other.start} is not UTF-8") from other
    except (ValueError, RecursionError) as error:
        raise invalid_json(str(error)[:200]) from error
    if not isinstance(fields, dict):
        raise invalid_json("it is not an object")
    bounds.check_depth(body, fields)
    return fields


def _message(message: dict[str, Any]) -> dict[str, Any]:
    """One turn as text, and the tools that it calls or answers for; parts other than text are left out."""
    content = message.get("content")
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
        content = "".join(part for part in parts if isinstance(part, str))
    told: dict[str, Any] = {"role": str(message.get("role")), "content": content if isinstance(content, str) else ""}
    if message.get("tool_calls"):
        told["tool_calls"] = tools.merged([message["tool_calls"]])
    if isinstance(message.get("tool_call_id"), str):
        told["tool_call_id"] = message["tool_call_id"]
    return told


def _swapped(raw: bytes, old: str, new: str) -> bytes | None:
    """Only where no other value stands under that key: this text was written by a stranger."""
    spans = string_spans(raw, MODEL)
    return swap(raw, spans, old, quoted(new)) if len(spans) == 1 else None


MODEL = b'"model"'
ID = b'"id"'
_VALUE = re.compile(rb'\s*:\s*("(?:[^"\\]|\\.)*")')
GAPS = (b": ", b":")
Span = tuple[int, int]
PREFIX_CHARACTERS = 1024


def string_spans(raw: bytes, key: bytes) -> list[Span]:
    """Where the values, quotes included, are that stand under `key` (with its quotes) anywhere in the JSON text."""
    spans = []
    at = raw.find(key)
    while at >= 0:
        value = _VALUE.match(raw, at + len(key))
        if value is not None and raw[at - 1 : at] != b"\\":
            spans.append(value.span(1))
        at = raw.find(key, at + len(key))
    return spans


def swap_only(raw: bytes, key: bytes, old: str, new: bytes) -> bytes | None:
    """`raw` with the value `old` under `key` replaced, where that key stands there once and plainly; else None."""
    at = raw.find(key)
    if at < 0 or raw.find(key, at + len(key)) >= 0:
        return None
    plain = b'"%b"' % old.encode("utf-8", "surrogatepass")
    at += len(key)
    for gap in GAPS:
        start = at + len(gap)
        if raw.startswith(gap, at) and raw.startswith(plain, start):
            return raw[:start] + new + raw[start + len(plain) :]
    return None


def swap(raw: bytes, spans: list[Span], old: str, new: bytes) -> bytes | None:
    """`raw` with the one value among `spans` that equals `old` replaced; None where there is not exactly one. `new` has
    its quotes."""
    plain = b'"%b"' % old.encode("utf-8", "surrogatepass")
    found = [span for span in spans if _means(raw[span[0] : span[1]], old, plain)]
    if len(found) != 1:
        return None
    start, end = found[0]
    return raw if new == plain else raw[:start] + new + raw[end:]


@lru_cache(1024)
def quoted(text: str) -> bytes:
    """A name as JSON; there are few of them."""
    return json.dumps(text).encode()


def _means(text: bytes, value: str, plain: bytes) -> bool:
    return text == plain if b"\\" not in text else bool(json.loads(text) == value)
