"""What a record knows of its place in an application, and the span that a collector gets."""

from __future__ import annotations

import json

import openai
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from services.inference_gateway.proxy.exporting import SpanExporter
from services.inference_gateway.proxy.snapshot import Target
from services.inference_gateway.proxy.tests import upstreams
from services.inference_gateway.proxy.tests.support import deployment
from services.inference_gateway.proxy.tests.test_completions import ask, collect
from services.inference_gateway.proxy.tests.upstreams import STREAM_HEAD, chunked, piece, raw, says, whole
from services.inference_gateway.proxy.tracing import place_of, session_hash

TRACE, PARENT = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b173"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
DONE = chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def spans(ratio: float = 1.0) -> tuple[SpanExporter, InMemorySpanExporter]:
    memory = InMemorySpanExporter()
    return SpanExporter(SimpleSpanProcessor(memory), ratio, dice=lambda: 0.5), memory


async def test_a_completion_stands_in_its_clients_trace_and_its_session_is_a_hash(start):
    async with raw(upstreams.answers()) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        await ask(running, extra_headers={"traceparent": TRACEPARENT, "x-session-id": "mrs-smith"})
        await ask(running, extra_headers={"x-session-id": "mrs-smith"})
        await ask(running, extra_headers={"x-session-id": "mrs-smith", "traceparent": "00-broken-1-01"})
        await ask(running)
        mine, second, third, alone = await running.records(4)
        assert f"traceparent: 00-{TRACE}-{PARENT}-01" in engine.requests[0].decode()
    assert (mine.trace_id, mine.parent_span_id, len(mine.span_id)) == (TRACE, PARENT, 16)
    assert mine.session == second.session == session_hash("demo", "mrs-smith") and "smith" not in mine.line().decode()
    assert second.trace_id == third.trace_id != TRACE and second.parent_span_id == ""
    assert alone.session == "" and alone.trace_id not in (TRACE, second.trace_id)
    assert len({each.span_id for each in (mine, second, third, alone)}) == 4


def test_sessions_of_two_projects_do_not_meet():
    mine, theirs = (place_of(project, "c", {"x-session-id": "1"}) for project in ("demo", "other"))
    assert mine.session != theirs.session and mine.trace_id != theirs.trace_id
    assert session_hash("demo", mine.session) == mine.session


async def test_tools_that_a_stream_calls_in_pieces_are_kept_whole(start):
    def calls(*said: dict) -> bytes:
        fields = json.loads(piece("x")[6:])
        fields["choices"][0]["delta"] = {"tool_calls": list(said)}
        return chunked(b"data: " + json.dumps(fields).encode() + b"\n\n")

    parts = [
        calls({"index": 0, "id": "call_1", "function": {"name": "find", "arguments": '{"i'}}),
        calls(
            {"index": 0, "function": {"arguments": 'd": 7}'}}, {"index": 1, "id": "call_2", "function": {"name": "x"}}
        ),
        calls({"index": 1, "function": {"arguments": "{}"}}, {"index": 0, "function": None}),
        chunked(piece(finish="tool_calls")),
    ]
    async with raw(says(STREAM_HEAD, *parts, DONE)) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        await collect(running)
        (record,) = await running.records()
    assert record.tool_calls == [
        {"id": "call_1", "name": "find", "arguments": '{"id": 7}'},
        {"id": "call_2", "name": "x", "arguments": "{}"},
    ]
    assert record.finish_reason == "tool_calls" and record.error == ""


async def test_an_engine_that_fails_leaves_a_record_that_says_why(start):
    async with raw(says(whole(500, {"error": {"message": "out of memory"}}), close=True)) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        with pytest.raises(openai.APIStatusError):
            await ask(running)
        (record,) = await running.records()
    assert record.error and record.answer == "" and record.target == "t1"


async def test_a_record_that_cannot_be_made_costs_the_client_nothing(start, monkeypatch):
    monkeypatch.setattr("services.inference_gateway.proxy.redaction.redact", lambda text: 1 / 0)
    async with raw(upstreams.answers("hi")) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        assert (await ask(running)).choices[0].message.content == "hi"
    assert running.lines() == [] and running.metric("gyre_gateway_records_total", outcome="failed") == 1


async def test_personal_data_is_marked_in_the_file_already(start):
    async with raw(upstreams.answers("call 13812345678")) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        await ask(running, messages=[{"role": "user", "content": "I am bob@example.com"}], user="bob@example.com")
        (record,) = await running.records()
    assert (record.messages[0]["content"], record.answer) == ("I am [email]", "call [phone]")
    assert b"bob@" not in b"".join(running.lines()) and record.parameters["user"] == "[email]"


async def test_a_collector_gets_a_span_with_numbers_and_no_texts(start):
    exporter, memory = spans()
    async with raw(upstreams.answers("secret answer")) as engine:
        target = Target("t1", version="3", engine="vllm", address=engine.address)
        running = await start(deployment(target), exporter=exporter)
        answer = await ask(running, extra_headers={"traceparent": TRACEPARENT, "x-session-id": "mrs-smith"})
        (record,) = await running.records()
        (span,) = memory.get_finished_spans()
        assert f"traceparent: 00-{TRACE}-{record.span_id}-01" in engine.requests[0].decode()
    assert (span.name, span.kind, span.status.status_code) == ("chat hotline", SpanKind.SERVER, StatusCode.UNSET)
    assert f"{span.context.trace_id:032x}" == TRACE and f"{span.parent.span_id:016x}" == PARENT
    assert f"{span.context.span_id:016x}" == record.span_id
    assert dict(span.attributes) == {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "vllm", "gen_ai.request.model": "hotline",
        "gen_ai.response.model": "hotline@3", "gen_ai.response.id": answer.id,
        "gen_ai.response.finish_reasons": ("stop",), "gen_ai.usage.input_tokens": 3, "gen_ai.usage.output_tokens": 2,
        "gen_ai.conversation.id": session_hash("demo", "mrs-smith"),
    }  # fmt: skip
    assert 0 < span.end_time - span.start_time < 10 * 10**9


@pytest.mark.parametrize(
    ("ratio", "traceparent", "count"),
    [(0.4, "", 0), (0.6, "", 1), (0.0, TRACEPARENT, 1), (1.0, TRACEPARENT[:-2] + "00", 0)],
)
async def test_a_callers_trace_says_whether_it_is_sampled_and_the_ratio_says_for_the_rest(
    start, ratio, traceparent, count
):
    exporter, memory = spans(ratio)
    async with raw(upstreams.answers()) as engine:
        running = await start(deployment(Target("t1", address=engine.address)), exporter=exporter)
        await ask(running, extra_headers={"traceparent": traceparent} if traceparent else {})
    assert len(memory.get_finished_spans()) == count


async def test_a_failure_is_a_span_with_its_reason(start):
    exporter, memory = spans()
    async with raw(says(whole(500, {"error": {"message": "secret"}}), close=True)) as engine:
        running = await start(deployment(Target("t1", address=engine.address)), exporter=exporter)
        with pytest.raises(openai.APIStatusError):
            await ask(running)
    (span,) = memory.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR and span.attributes["error.type"]
    assert "secret" not in span.to_json()
