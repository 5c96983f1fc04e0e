"""The OpenAI API as the unmodified `openai` client sees it, in front of engines that behave as a test wants."""

from __future__ import annotations

import asyncio
import json

import httpx
import openai
import pytest

from services.inference_gateway.proxy.metrics import MODEL
from services.inference_gateway.proxy.snapshot import Target, TargetState
from services.inference_gateway.proxy.tests import upstreams
from services.inference_gateway.proxy.tests.support import Running, deployment, eventually
from services.inference_gateway.proxy.tests.upstreams import STREAM_HEAD, chunked, piece, raw, says, whole

HELLO = [{"role": "user", "content": "hello"}]
DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
END = b"0\r\n\r\n"


async def ask(running: Running, **options):
    return await running.client().chat.completions.create(**({"model": "hotline", "messages": HELLO} | options))


async def collect(running: Running, **options) -> list:
    return [each async for each in await ask(running, stream=True, **options)]


async def test_the_list_of_models_is_the_deployments_of_the_keys_project(start):
    running = await start(
        deployment(Target("t1")), deployment(Target("t2"), name="second"), deployment(Target("t3"), project="other")
    )
    listed = await running.client().models.list()
    assert [each.id for each in listed.data] == ["hotline", "second"]
    assert (await running.client().models.retrieve("second")).owned_by == "demo"
    with pytest.raises(openai.NotFoundError, match="This project serves: hotline, second"):
        await running.client().models.retrieve("third")


@pytest.mark.parametrize("spelt", ["hotline@3", "hotline%403", "%68otline@3"])
async def test_a_pinned_model_is_found_however_its_name_is_spelt_in_the_path(start, spelt):
    running = await start(deployment(Target("t1", version="3")))
    async with httpx.AsyncClient(headers={"authorization": "Bearer gyre-test-key"}) as http:
        reply = await http.get(f"{running.url}/v1/models/{spelt}")
    assert reply.status_code == 200 and reply.json()["id"] == "hotline@3"


async def test_an_answer_has_our_id_and_the_name_that_was_asked_for_and_is_otherwise_the_engines(start):
    async with raw(upstreams.answers("good morning")) as engine:
        running = await start(deployment(Target("t1", version="3", address=engine.address, upstream_model="weights")))
        answer = await ask(running, temperature=0, max_tokens=7)
        pinned = await ask(running, model="hotline@3")
    assert answer.id.startswith("chatcmpl-") and len(answer.id) == len("chatcmpl-") + 26
    assert (answer.model, pinned.model) == ("hotline", "hotline@3")
    assert answer.choices[0].message.content == "good morning"
    assert answer._request_id == answer.id
    asked = engine.bodies()[0]
    assert asked == {"model": "weights", "messages": HELLO, "temperature": 0, "max_tokens": 7}


async def test_the_clients_key_and_cookies_do_not_reach_the_engine(start):
    async with raw(upstreams.answers()) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        client = running.client(default_headers={"cookie": "secret=1", "traceparent": "00-1-2-01"})
        await client.chat.completions.create(model="hotline", messages=HELLO)
    head = engine.requests[0].lower()
    assert b"gyre-test-key" not in head and b"cookie" not in head and b"traceparent: 00-1-2-01" in head


async def test_the_key_of_a_rented_upstream_comes_from_the_setting_that_the_target_names(start, monkeypatch):
    monkeypatch.setenv("GYRE_UPSTREAM_KEY_RENTED", "sk-rented")
    monkeypatch.setenv("GYRE_DATABASE_URL", "postgresql://secret")
    async with raw(upstreams.answers()) as engine:
        url = f"http://{engine.address}/v1"
        running = await start(
            deployment(Target("t1", upstream_url=url, upstream_key_ref="GYRE_UPSTREAM_KEY_RENTED")),
            deployment(Target("t2", upstream_url=url, upstream_key_ref="rented"), name="short"),
            deployment(Target("t3", upstream_url=url, upstream_key_ref="GYRE_DATABASE_URL"), name="thief"),
        )
        await ask(running)
        await ask(running, model="short")
        with pytest.raises(openai.InternalServerError, match=r"GYRE_UPSTREAM_KEY_GYRE_DATABASE_URL.* is not set"):
            await ask(running, model="thief")
    assert [b"authorization: Bearer sk-rented\r\n" in request for request in engine.requests] == [True, True]


async def test_pieces_of_a_stream_arrive_one_by_one(start):
    go_on = asyncio.Event()

    async def behave(upstream, reader, writer, request):
        writer.write(STREAM_HEAD + chunked(piece("one")))
        await writer.drain()
        await go_on.wait()
        writer.write(chunked(piece(" two", finish="stop")) + chunked(DONE) + END)

    async with raw(behave) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        stream = await ask(running, stream=True)
        pieces = aiter(stream)
        first = await anext(pieces)
        assert first.choices[0].delta.content == "one"  # the engine has not said more yet
        go_on.set()
        rest = [each async for each in pieces]
    assert [each.choices[0].delta.content for each in rest] == [" two"]
    assert {first.id} == {each.id for each in rest} and first.model == "hotline"


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_a_stream_may_be_cut_anywhere(start, size):
    text = b"".join([piece("Grüße"), b": ping\n\n", piece("\n\ndata: x"), piece(finish="stop"), DONE])
    parts = [chunked(text[at : at + size]) for at in range(0, len(text), size)]
    async with raw(says(STREAM_HEAD, *parts, END)) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        pieces = await collect(running)
    assert "".join(each.choices[0].delta.content or "" for each in pieces) == "Grüße\n\ndata: x"


async def test_what_the_engine_had_in_its_cache_is_counted_as_it_tells(start):
    usage = USAGE | {"prompt_tokens_details": {"cached_tokens": 2}}
    end = piece(finish="stop", usage=usage)
    async with raw(says(STREAM_HEAD, chunked(piece("hi")), chunked(end), chunked(DONE), END)) as engine:
        running = await start(deployment(Target("t1", version="3", address=engine.address)))
        await collect(running)
    labels = dict(zip(MODEL, ("demo", "chat", "hotline", "3"), strict=True))
    await eventually(lambda: running.metric("gyre_gateway_cached_prompt_tokens_total", **labels) == 2)


async def test_usage_is_always_asked_of_the_engine_and_shown_only_to_those_who_asked(start):
    parts = [chunked(piece("hi", finish="stop")), chunked(piece(usage=USAGE)), chunked(DONE), END]
    async with raw(says(STREAM_HEAD, *parts)) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        silent = await collect(running)
        asked = await collect(running, stream_options={"include_usage": True})
        kept = await running.records(2)
    assert [each.usage for each in silent] == [None]
    assert asked[-1].usage.total_tokens == 5 and asked[-1].choices == []
    assert [each["stream_options"] for each in engine.bodies()] == [{"include_usage": True}] * 2
    assert [each.total_tokens for each in kept] == [5, 5]


async def test_text_completions_work_too(start):
    reply = upstreams.reply() | {"choices": [{"index": 0, "text": " world", "finish_reason": "stop"}]}
    async with raw(says(whole(200, reply))) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        answer = await running.client().completions.create(model="hotline", prompt="hello")
        (record,) = await running.records()
    assert answer.choices[0].text == " world" and answer.id.startswith("cmpl-")
    assert b"POST /v1/completions HTTP/1.1" in engine.requests[0]
    assert record.messages == [{"role": "user", "content": "hello"}] and record.answer == " world"


async def test_what_is_kept_of_a_completion_is_all_that_feedback_needs(start):
    parts = [chunked(piece("good ")), chunked(piece("day", finish="stop")), chunked(piece(usage=USAGE)), chunked(DONE)]
    async with raw(says(STREAM_HEAD, *parts, END)) as engine:
        target = Target("t1", address=engine.address, model_version="projects/demo/models/m/versions/3", variant="v")
        running = await start(deployment(target))
        pieces = await collect(running, temperature=0.5)
        (record,) = await running.records()
    assert record.id == pieces[0].id
    assert (record.project, record.deployment) == ("demo", "projects/demo/deployments/hotline")
    assert (record.target, record.model_version, record.variant) == ("t1", target.model_version, "v")
    assert (record.messages, record.answer, record.finish_reason) == (HELLO, "good day", "stop")
    assert record.parameters == {"model": "hotline", "stream": True, "temperature": 0.5}
    assert (record.prompt_tokens, record.completion_tokens, record.api_key) == (3, 2, "projects/demo/keys/1")
    assert 0 < record.ttft_ms <= record.duration_ms and record.streamed


async def test_nothing_is_kept_without_the_projects_consent(start):
    async with raw(upstreams.answers()) as engine:
        running = await start(deployment(Target("t1", address=engine.address)), consent=False)
        await ask(running)
    assert running.lines() == []


@pytest.mark.parametrize(
    ("key", "status", "code"),
    [("nonsense", 401, "invalid_api_key"), ("gyre-revoked", 401, "invalid_api_key"), ("", 401, "missing_api_key")],
)
async def test_a_wrong_key_gets_401(start, key, status, code):
    running = await start(deployment(Target("t1", address="127.0.0.1:9")))
    async with httpx.AsyncClient(base_url=running.url) as http:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        reply = await http.post("/v1/chat/completions", json={"model": "hotline", "messages": HELLO}, headers=headers)
    assert reply.status_code == status and reply.headers["www-authenticate"] == "Bearer"
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["code"] == code


async def test_a_stranger_sees_none_of_another_projects_models(start):
    running = await start(deployment(Target("t1", address="127.0.0.1:9")))
    other = running.client("gyre-other")
    assert (await other.models.list()).data == []
    with pytest.raises(openai.NotFoundError, match="no deployment yet"):
        await other.chat.completions.create(model="hotline", messages=HELLO)
    with pytest.raises(openai.PermissionDeniedError, match="does not belong to the project 'demo'"):
        await running.client("gyre-other", project="demo").models.list()


async def test_a_key_of_all_projects_says_which_it_means(start):
    running = await start(deployment(Target("t1")))
    with pytest.raises(openai.BadRequestError, match="OpenAI-Project"):
        await running.client("gyre-all").models.list()
    assert [each.id for each in (await running.client("gyre-all", project="demo").models.list()).data] == ["hotline"]


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ({"messages": HELLO}, "model", "name of a deployment"),
        ({"model": "hotline"}, "messages", "must be a list like"),
        ({"model": "hotline", "messages": [1]}, "messages[0]", "`role` and `content`"),
        ({"model": "hotline", "messages": HELLO, "stream": "yes"}, "stream", "true or false"),
        ({"model": "hotline", "messages": HELLO, "stream_options": {}}, "stream_options", "stream: true"),
        (b"{", None, "line 1, column 2"),
        (b"[]", None, "not an object"),
        (b'{"model": NaN}', None, "NaN"),
        (b'{"model": "\xff"}', None, "not UTF-8"),
        (b"[" * 100_000, None, "not valid JSON"),
        (b"", None, "empty"),
    ],
)
async def test_a_bad_body_gets_400_that_names_the_field(start, body, param, says):
    running = await start(deployment(Target("t1", address="127.0.0.1:9")))
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with httpx.AsyncClient(base_url=running.url, headers={"authorization": "Bearer gyre-test-key"}) as http:
        reply = await http.post("/v1/chat/completions", content=content)
    assert reply.status_code == 400, reply.text
    assert reply.json()["error"]["param"] == param and says in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/nothing", 404), ("GET", "/v1/chat/completions", 405), ("POST", "/v1/models", 405), ("GET", "/", 404)],
)
async def test_other_paths_and_methods_are_refused_with_what_would_work(start, method, path, status):
    running = await start()
    async with httpx.AsyncClient(base_url=running.url) as http:
        reply = await http.request(method, path)
    assert reply.status_code == status
    assert ("/v1/models" if status == 404 else "; use ") in reply.json()["error"]["message"]


async def test_health_tells_a_load_balancer_whether_to_send_requests(start):
    running = await start()
    async with httpx.AsyncClient(base_url=running.url) as http:
        assert (await http.get("/health")).json() == {"status": "ok", "snapshot_revision": 1}
        assert (await http.head("/health")).status_code == 200
        running.gateway.snapshot = None
        assert (await http.get("/health")).status_code == 503
        reply = await http.get("/v1/models", headers={"authorization": "Bearer gyre-test-key"})
    assert reply.status_code == 503 and "no routes yet" in reply.text


async def test_a_key_beyond_its_requests_a_minute_gets_429_and_when_to_come_back(start):
    async with raw(upstreams.answers()) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        limited = running.client("gyre-limited")
        for _ in range(2):
            await limited.chat.completions.create(model="hotline", messages=HELLO)
        with pytest.raises(openai.RateLimitError) as caught:
            await limited.chat.completions.create(model="hotline", messages=HELLO)
    assert 25 <= int(caught.value.response.headers["retry-after"]) <= 31
    assert caught.value.response.headers["x-ratelimit-limit-requests"] == "2"


async def test_feedback_goes_to_the_control_plane_with_the_name_of_the_key(start):
    running = await start()
    async with httpx.AsyncClient(base_url=running.url) as http:
        headers = {"authorization": "Bearer gyre-test-key"}
        reply = await http.post("/v1/feedback", json={"completion_id": "chatcmpl-1", "rating": "up"}, headers=headers)
    assert reply.json() == {"name": "projects/demo/feedback/1"}
    (call,) = running.feedback
    assert (call.project, call.api_key, call.role) == ("demo", "projects/demo/keys/1", "ENGINEER")
    assert json.loads(call.body) == {"completion_id": "chatcmpl-1", "rating": "up"}


async def test_a_client_that_leaves_stops_the_engine_and_what_it_read_is_kept(start):
    async with raw(says(STREAM_HEAD, chunked(piece("half")), wait=asyncio.Event())) as engine:

        async def behave(upstream, reader, writer, request):
            writer.write(STREAM_HEAD + chunked(piece("half")))
            await upstreams.silence(upstream, reader, writer, request)

        engine.behaviour = behave
        running = await start(deployment(Target("t1", address=engine.address)))
        stream = await ask(running, stream=True)
        await anext(aiter(stream))
        await stream.close()
        async with asyncio.timeout(5):
            await engine.gone.wait()
        (record,) = await running.records()
    assert (record.answer, record.finish_reason) == ("half", "client_closed")
    await eventually(lambda: not running.gateway.router.in_flight["t1"])
    assert running.metric("gyre_gateway_requests_total", route="/v1/chat/completions", status="499") == 1


async def test_a_client_that_leaves_before_the_first_byte_stops_the_engine_too(start):
    async with raw(upstreams.silence) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        asking = asyncio.create_task(ask(running))
        await eventually(lambda: engine.requests)
        asking.cancel()
        async with asyncio.timeout(5):
            await engine.gone.wait()
    assert running.lines() == []


async def test_an_unready_target_gets_no_request_while_another_is_ready(start):
    async with raw(upstreams.answers("a")) as good, raw(upstreams.answers("b")) as bad:
        running = await start(
            deployment(
                Target("t1", version="1", address=bad.address, state=TargetState.DRAINING),
                Target("t2", version="2", address=bad.address, state=TargetState.UNHEALTHY),
                Target("t3", version="3", address=good.address, weight=1),
            )
        )
        for _ in range(20):
            await ask(running)
        with pytest.raises(openai.NotFoundError, match="Serving now: hotline@2, hotline@3"):
            await ask(running, model="hotline@1")
    assert not bad.requests and len(good.requests) == 20


async def test_metrics_speak_opentelemetrys_names(start):
    parts = [chunked(piece("a")), chunked(piece("b", finish="stop")), chunked(piece(usage=USAGE)), chunked(DONE), END]
    async with raw(says(STREAM_HEAD, *parts)) as engine:
        running = await start(deployment(Target("t1", version="2", address=engine.address)))
        await collect(running)
    labels = {
        "project": "demo",
        "gen_ai_operation_name": "chat",
        "gen_ai_request_model": "hotline",
        "gen_ai_response_model": "2",
    }
    await eventually(lambda: running.metric("gen_ai_server_request_duration_seconds_count", **labels, error_type=""))
    assert running.metric("gen_ai_server_time_to_first_token_seconds_count", **labels) == 1
    assert running.metric("gen_ai_client_token_usage_sum", **labels, gen_ai_token_type="output") == 2
