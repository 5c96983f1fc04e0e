"""How each path speaks: what of its body goes to an engine, and in which form the answer goes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from services.inference_gateway.proxy import answering, asking, responses, responses_stream, ulid
from services.inference_gateway.proxy.answering import Answer, StreamRewriter
from services.inference_gateway.proxy.asking import Asking

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Dialect:
    """`parse` may raise ApiError, `whole(raw, id, asking)` and the rewriter of `stream(id, asking, clock,
    max_event)` Garbage."""

    id_prefix: str
    parse: Callable[[bytes], Asking]
    whole: Callable[[bytes, str, Asking], tuple[bytes, Answer]]
    stream: Callable[[str, Asking, Clock, int], StreamRewriter]

    def new_id(self) -> str:
        return f"{self.id_prefix}{ulid.new()}"


def _completion(raw: bytes, completion_id: str, ask: Asking) -> tuple[bytes, Answer]:
    return answering.rewrite_reply(raw, completion_id, ask.model)


def _pieces(completion_id: str, ask: Asking, clock: Clock, max_event: int) -> StreamRewriter:
    return StreamRewriter(completion_id, ask.model, ask.wants_usage, clock, max_event)


def _vectors(raw: bytes, _: str, ask: Asking) -> tuple[bytes, Answer]:
    return answering.rewrite_embeddings(raw, ask.model)


CHAT = Dialect("chatcmpl-", asking.parse_chat, _completion, _pieces)
TEXT = Dialect("cmpl-", asking.parse_text, _completion, _pieces)
EMBEDDINGS = Dialect("embd-", asking.parse_embeddings, _vectors, _pieces)  # never streamed: `parse` says so
RESPONSES = Dialect("resp_", responses.parse, responses.rewrite_reply, responses_stream.ResponseStream)
