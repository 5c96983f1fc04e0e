"""Answers that a worker keeps to give again to the very same request, where asking the engine twice says nothing new.

An entry is one whole answer as the engine gave it; from it comes a reply of either form, in either dialect. Its key
holds the project and the target that answered: what another version said is never found, and a shift of traffic leaves
the old entries behind by itself. Each worker has a cache of its own, in memory, and forgets it when it ends.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

from services.inference_gateway.proxy.asking import EMBEDDINGS, TEXT, Asking
from services.inference_gateway.proxy.snapshot import Target

HEADER = "x-gyre-cache"
# How a request is asked, who asks, and what OpenAI's servers would do with it: nothing that changes the answer.
NOT_OF_THE_ANSWER = frozenset({
    "model", "stream", "stream_options", "user", "store", "metadata", "safety_identifier", "prompt_cache_key", "service_tier",
})  # fmt: skip
ONE_ENTRY = 16  # at most this part of the memory for one answer
WHOLE_ENDS = ("stop", "length")
Fields = dict[str, Any]


def may_be_kept(ask: Asking) -> bool:
    """Only what the engine would say again: temperature 0 or a seed, one choice; or vectors. Not with tools, for a call
    is to be decided on anew each time; not with logprobs, which a stream's pieces cannot be joined from."""
    if ask.operation == EMBEDDINGS:
        return True
    fields = ask.fields
    is_settled = fields.get("temperature") == 0 or type(fields.get("seed")) is int
    is_one = fields.get("n") in (None, 1) and fields.get("best_of") in (None, 1)
    has_more = any(fields.get(name) for name in ("tools", "functions", "logprobs", "top_logprobs", "echo"))
    return is_settled and is_one and not has_more


def key_of(project: str, target: Target, adapter: str, ask: Asking) -> bytes:
    """Of the answer that `target` gives with `adapter` (empty: none); names of fields in whatever order."""
    asked = {name: value for name, value in ask.fields.items() if name not in NOT_OF_THE_ANSWER}
    whole = json.dumps([project, target.target, adapter, ask.operation, asked], sort_keys=True, separators=(",", ":"))
    return blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=32).digest()


class ExactCache:
    """At most `max_bytes` of answers; what was not asked for the longest goes first."""

    def __init__(self, max_bytes: int, clock: Callable[[], float]) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._entries: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> bytes | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if self._clock() >= entry[0]:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry[1]

    def put(self, key: bytes, answer: bytes, seconds: float) -> None:
        if len(answer) * ONE_ENTRY > self._max_bytes:
            return
        self._drop(key)
        self._entries[key] = (self._clock() + seconds, answer)
        self.bytes += len(answer)
        while self.bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.bytes -= len(entry[1])


def to_keep(raw: bytes, ask: Asking) -> bytes | None:
    """The entry of what an engine said, a stream or not; its whole prompt counts as cached. None for what is no whole
    answer of text."""
    try:
        fields = _joined(raw, ask.operation) if ask.stream else json.loads(raw)
        if ask.operation != EMBEDDINGS and not _is_plain(fields["choices"]):
            return None
        usage = fields.get("usage")
        if usage:
            usage["prompt_tokens_details"] = {"cached_tokens": usage.get("prompt_tokens", 0)}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return json.dumps(fields, separators=(",", ":")).encode()


def as_stream(answer: bytes, operation: str) -> bytes:
    """An entry as the pieces of a stream: the text at once, the end, the usage."""
    fields = json.loads(answer)
    choice = fields["choices"][0]
    kind = "text_completion" if operation == TEXT else "chat.completion.chunk"
    base = {name: fields.get(name) for name in ("id", "created", "model")} | {"object": kind}
    if operation == TEXT:
        said: Fields = {"text": choice["text"]}
        nothing: Fields = {"text": ""}
    else:
        said, nothing = {"delta": choice["message"]}, {"delta": {}}
    pieces = [
        base | {"choices": [{"index": 0, **said, "finish_reason": None}]},
        base | {"choices": [{"index": 0, **nothing, "finish_reason": choice["finish_reason"]}]},
        base | {"choices": [], "usage": fields.get("usage")},
    ]
    return (
        b"".join([b"data: %b\n\n" % json.dumps(each, separators=(",", ":")).encode() for each in pieces])
        + b"data: [DONE]\n\n"
    )


def _is_plain(choices: list[Fields]) -> bool:
    if len(choices) != 1 or choices[0].get("finish_reason") not in WHOLE_ENDS:
        return False
    return not (choices[0].get("message") or {}).get("tool_calls")


def _joined(stream: bytes, operation: str) -> Fields:
    """The completion that the pieces of `stream` make up. Raises: ValueError, KeyError, TypeError, AttributeError."""
    joined: Fields = {}
    texts: dict[str, list[str]] = {"content": [], "reasoning_content": [], "text": []}
    finish: Any = None
    for event in stream.replace(b"\r\n", b"\n").split(b"\n\n"):
        payload = event.strip().removeprefix(b"data:").strip()
        if not event.strip().startswith(b"data:") or payload == b"[DONE]":
            continue
        fields = json.loads(payload)
        joined = joined or {name: fields[name] for name in ("id", "created", "model")}
        joined["usage"] = fields.get("usage") or joined.get("usage")
        for choice in fields["choices"]:
            delta = choice if operation == TEXT else choice["delta"]
            if delta.get("tool_calls"):
                raise ValueError("a call of a tool is not kept")
            for name, pieces in texts.items():
                pieces += [delta[name]] if delta.get(name) else []
            finish = choice.get("finish_reason") or finish
    whole = {name: "".join(pieces) for name, pieces in texts.items()}
    if operation == TEXT:
        return joined | {
            "object": "text_completion",
            "choices": [{"index": 0, "text": whole["text"], "finish_reason": finish}],
        }
    message: Fields = {"role": "assistant", "content": whole["content"]}
    if whole["reasoning_content"]:
        message["reasoning_content"] = whole["reasoning_content"]
    choices = [{"index": 0, "message": message, "finish_reason": finish}]
    return joined | {"object": "chat.completion", "choices": choices}
