"""What is changed in a body on its way, and above all what is not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference_gateway.proxy.answering import StreamRewriter, rewrite_reply
from services.inference_gateway.proxy.asking import parse_chat
from services.inference_gateway.proxy.tests.upstreams import piece
from services.inference_gateway.proxy.upstream import Garbage

MESSAGES = '"messages": [{"role": "user", "content": "hi"}]'


def handed_on(text: str, upstream_model: str = "weights") -> bytes:
    return parse_chat(text.encode()).body_for(upstream_model, stream_usage=True)


def rewriter(wants_usage: bool = False, max_event: int = 10_000) -> StreamRewriter:
    return StreamRewriter("chatcmpl-ours", "hotline", wants_usage, lambda: 1.0, max_event)


def test_a_plain_body_is_handed_on_byte_for_byte_but_for_the_model():
    text = '{ "temperature":0.70, "model" :  "hotline",\n' + MESSAGES + ', "seed": 12345678901234567890}'
    assert handed_on(text) == text.replace('"hotline"', '"weights"').encode()


def test_usage_is_asked_for_without_touching_the_rest_of_a_stream_request():
    text = '{"model": "hotline", "stream": true, ' + MESSAGES + "}"
    expected = text.replace('"hotline"', '"weights"').replace("{", '{"stream_options":{"include_usage":true},', 1)
    assert handed_on(text) == expected.encode()


@pytest.mark.parametrize(
    "text",
    [
        '{"model": "other", "model": "hotline", ' + MESSAGES + "}",
        '{"mod\\u0065l": "hotline", "metadata": {"model": "hotline"}, ' + MESSAGES + "}",
        '{"mod\\u0065l": "expensive", "model": "hotline", ' + MESSAGES + "}",
        '{"metadata": {"model": "hotline"}, "model": "hotline", ' + MESSAGES + "}",
        '{"model": "hotline", "stream": true, "stream_options": {"x": 1}, ' + MESSAGES + "}",
        '\n{"model": "hotline", "stream": true, ' + MESSAGES + "}",
    ],
    ids=["said twice", "escaped", "escaped and plain", "nested", "has options", "begins with a line break"],
)
def test_a_body_that_could_be_read_in_two_ways_is_written_anew(text):
    fields = json.loads(handed_on(text), object_pairs_hook=lambda pairs: pairs)
    assert [value for key, value in fields if key == "model"] == ["weights"]
    parsed = dict(fields)
    if "stream" in parsed:
        assert dict(parsed["stream_options"])["include_usage"] is True


def test_a_model_in_the_text_of_a_message_is_left_alone():
    content = json.dumps('say {"model": "hotline"} and \\"model\\": \\"hotline\\"')
    text = '{"model": "hotline", "messages": [{"role": "user", "content": ' + content + "}]}"
    fields = json.loads(handed_on(text))
    assert fields["model"] == "weights" and fields["messages"][0]["content"] == json.loads(content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=8,
)


@given(
    extra=st.dictionaries(st.text(max_size=12) | st.just("model"), JSON, max_size=4),
    content=st.text(),
    model=st.text(min_size=1),
    stream=st.booleans(),
    ascii_=st.booleans(),
    indent=st.sampled_from([None, 1]),
)
def test_whatever_the_body_the_engine_reads_the_same_but_for_model_and_usage(
    extra, content, model, stream, ascii_, indent
):
    fields = extra | {"model": model, "messages": [{"role": "user", "content": content}], "stream": stream}
    for bounded in ("stream_options", "n", "best_of"):
        fields.pop(bounded, None)
    body = json.dumps(fields, ensure_ascii=ascii_, indent=indent).encode("utf-8", "surrogatepass")
    expected = fields | {"model": "weights"} | ({"stream_options": {"include_usage": True}} if stream else {})
    assert json.loads(parse_chat(body).body_for("weights", stream_usage=True)) == expected


@given(text=st.text(), spaced=st.booleans(), cuts=st.lists(st.integers(1, 40), max_size=30))
def test_a_stream_that_is_cut_anywhere_says_the_same(text, spaced, cuts):
    stream = piece(text or "x") + piece(finish="stop") + b"data: [DONE]\n\n"
    if not spaced:
        stream = stream.replace(b'": ', b'":')
    subject, out, at = rewriter(), b"", 0
    for cut in cuts:
        out += subject.feed(stream[at : at + cut])
        at += cut
    out += subject.feed(stream[at:]) + subject.end()
    events = [each.removeprefix(b"data: ") for each in out.strip().split(b"\n\n")]
    pieces = [json.loads(each) for each in events[:-1]]
    assert events[-1] == b"[DONE]" and subject.finished
    assert {(each["id"], each["model"]) for each in pieces} == {("chatcmpl-ours", "hotline")}
    assert subject.answer.text == (text or "x") and subject.answer.finish_reason == "stop"


def test_a_piece_of_a_stream_passes_byte_for_byte_but_for_id_and_model():
    event = piece("hello")
    expected = event.replace(b"chatcmpl-engine", b"chatcmpl-ours").replace(b"engine-model", b"hotline")
    assert rewriter().feed(event) == expected


def test_an_answer_that_quotes_its_own_id_keeps_the_quote():
    quoting = piece('"id": "chatcmpl-engine"')
    (event,) = rewriter().feed(quoting).strip().split(b"\n\n")
    fields = json.loads(event.removeprefix(b"data: "))
    assert fields["id"] == "chatcmpl-ours"
    assert fields["choices"][0]["delta"]["content"] == '"id": "chatcmpl-engine"'


def test_lines_may_end_with_carriage_returns():
    stream = (piece("a") + piece(finish="stop")).replace(b"\n", b"\r\n") + b"data: [DONE]\r\n\r\n"
    subject = rewriter()
    for each in stream:
        subject.feed(bytes([each]))
    assert subject.finished and subject.answer.text == "a"


@pytest.mark.parametrize("stream", [b"data: {\n\n", b"data: 1\n\n", b'data: {"choices": [1]}\n\n', b"x" * 20_000])
def test_what_is_no_stream_of_completions_is_garbage(stream):
    with pytest.raises(Garbage):
        rewriter().feed(stream)


def test_a_reply_passes_byte_for_byte_but_for_id_and_model():
    raw = b'{"id":"x", "model" : "/models/m.gguf","created":1,"choices":[{"index":0,"message":{"content":"\\u00fc"}}]}'
    out, answer = rewrite_reply(raw, "chatcmpl-ours", "hotline")
    assert out == raw.replace(b'"x"', b'"chatcmpl-ours"').replace(b'"/models/m.gguf"', b'"hotline"')
    assert answer.text == "ü"


def test_a_reply_without_an_id_gets_ours():
    out, _ = rewrite_reply(b'{"choices": []}', "chatcmpl-ours", "hotline")
    assert json.loads(out) == {"choices": [], "id": "chatcmpl-ours", "model": "hotline"}


@given(texts=st.lists(st.text(st.characters(codec="utf-8"), max_size=8), min_size=2, max_size=12), ascii_=st.booleans())
def test_whatever_the_texts_of_a_stream_each_comes_through_with_our_id_and_model(texts, ascii_):
    """Most of them are read by what the pieces have in common; those that are special are parsed."""
    subject = StreamRewriter("ours", "hotline", False, lambda: 1.0, 1_000_000)
    seen = []
    for text in texts:
        delta = {"index": 0, "delta": {"content": text}, "finish_reason": None}
        fields = {"id": "theirs", "model": "weights", "choices": [delta]}
        event = b"data: " + json.dumps(fields, ensure_ascii=ascii_).encode() + b"\n\n"
        seen += [json.loads(piece[6:]) for piece in subject.feed(event).split(b"\n\n") if piece]
    assert [piece["choices"][0]["delta"]["content"] for piece in seen] == texts
    assert {(piece["id"], piece["model"]) for piece in seen} == {("ours", "hotline")}
    assert subject.answer.text == "".join(texts)


@pytest.mark.parametrize("text", ['a", "x": "b', "a\\", "a\nb", "\x00"])
def test_a_text_that_would_end_its_string_is_not_read_by_what_pieces_have_in_common(text):
    subject = StreamRewriter("ours", "hotline", False, lambda: 1.0, 1_000_000)
    before, after = b'data: {"id":"t","model":"w","choices":[{"index":0,"delta":{"content":"', b'"}}]}\n\n'
    assert subject.feed(before + b"word" + after)
    with pytest.raises(Garbage):
        subject.feed(before + b'a"' + text.encode() + after)
