from __future__ import annotations

import asyncio
import json

import httpx
from aiokafka import AIOKafkaConsumer
from gyre_kit.testing import Platform, eventually


async def new_key(http: httpx.AsyncClient, role: str, project: str = "default") -> str:
    reply = await http.post(f"/projects/{project}/keys", json={"role": f"ROLE_{role}", "display_name": role.lower()})
    assert reply.status_code == 200, reply.text
    return str(reply.json()["secret"])


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def test_a_wrong_key_is_told_what_to_do(http: httpx.AsyncClient) -> None:
    reply = await http.get("/projects", headers=bearer("gyre-nonsense"))
    assert reply.status_code == 401
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["reason"] == "WRONG_KEY"
    assert "gyre keys create" in reply.json()["detail"]


async def test_the_first_start_makes_a_project_and_an_administrator(http: httpx.AsyncClient) -> None:
    names = [project["name"] for project in (await http.get("/projects")).json()["projects"]]
    assert "projects/default" in names


async def test_a_secret_is_shown_once(http: httpx.AsyncClient) -> None:
    made = (await http.post("/projects/default/keys", json={"role": "ROLE_VIEWER"})).json()
    assert made["secret"].startswith("gyre-")
    listed = (await http.get("/projects/default/keys")).json()["keys"]
    assert all(key["secret"] == "" for key in listed)
    assert made["prefix"] in {key["prefix"] for key in listed}


async def test_a_revoked_key_opens_nothing_at_once(http: httpx.AsyncClient) -> None:
    key = (await http.post("/projects/default/keys", json={"role": "ROLE_VIEWER"})).json()
    assert (await http.get("/projects/default/feedback", headers=bearer(key["secret"]))).status_code == 200
    revoked = await http.post(f"/{key['name']}:revoke", json={})
    assert revoked.json()["state"] == "STATE_REVOKED"
    assert (await http.get("/projects/default/feedback", headers=bearer(key["secret"]))).status_code == 401


async def test_the_last_administrator_cannot_lock_everybody_out(http: httpx.AsyncClient) -> None:
    keys = (await http.get("/projects/default/keys", params={"filter": "role=ADMIN"})).json()["keys"]
    assert len(keys) == 1
    reply = await http.post(f"/{keys[0]['name']}:revoke", json={})
    assert (reply.status_code, reply.json()["reason"]) == (412, "LAST_ADMIN_KEY")


async def test_a_role_bounds_what_a_key_may_do_and_the_audit_log_knows(http: httpx.AsyncClient) -> None:
    viewer = await new_key(http, "VIEWER")
    reply = await http.post("/projects/default/keys", json={"role": "ROLE_ADMIN"}, headers=bearer(viewer))
    assert (reply.status_code, reply.json()["reason"]) == (403, "DENIED")
    entries = (await http.get("/projects/default/audit", params={"filter": "outcome=DENIED"})).json()["audit_entries"]
    assert entries[0]["action"] == "api_gateway.CreateKey"


async def test_a_request_that_is_wrong_in_itself_leaves_no_audit_entry(http: httpx.AsyncClient) -> None:
    before = (await http.get("/projects/default/audit")).json()["total_size"]
    assert (await http.post("/projects/default/keys/none:revoke", json={})).status_code == 404
    assert (await http.post("/projects/default/keys", json={"role": "ROLE_UNSPECIFIED"})).status_code == 400
    assert (await http.get("/projects/default/audit")).json()["total_size"] == before


async def test_a_key_sees_its_own_project_alone(http: httpx.AsyncClient) -> None:
    assert (await http.post("/projects", json={"project_id": "north"})).status_code == 200
    stranger = await new_key(http, "ADMIN", project="north")
    for path in ("/projects/default", "/projects/default/feedback", "/projects/default/keys"):
        assert (await http.get(path, headers=bearer(stranger))).status_code == 404, path
    seen = (await http.get("/projects", headers=bearer(stranger))).json()["projects"]
    assert [project["name"] for project in seen] == ["projects/north"]


async def test_an_unknown_field_is_named(http: httpx.AsyncClient) -> None:
    reply = await http.post("/projects/default/keys", json={"rolle": "ROLE_VIEWER"})
    assert reply.status_code == 400
    assert "rolle" in reply.json()["detail"]
    assert "role" in reply.json()["metadata"]


async def test_feedback_is_given_claimed_and_approved_over_rest(http: httpx.AsyncClient) -> None:
    said = (
        await http.post(
            "/projects/default/feedback",
            json={"completion": "chatcmpl-x", "rating": "RATING_THUMBS_DOWN", "correction": "better"},
        )
    ).json()
    assert said["state"] == "STATE_PENDING"
    claimed = await http.post(f"/{said['name']}:claim", json={})
    assert (claimed.status_code, claimed.json()["reason"]) == (412, "NOT_SUBMITTED")


async def test_a_session_cookie_stands_for_the_key_but_not_for_other_sites(http: httpx.AsyncClient) -> None:
    key = await new_key(http, "REVIEWER")
    async with httpx.AsyncClient(base_url=http.base_url) as browser:
        signed_in = await browser.post("/session", json={"key": key})
        assert signed_in.json()["role"] == "ROLE_REVIEWER"
        cookie = signed_in.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert key not in cookie
        assert (await browser.get("/projects/default/feedback")).status_code == 200
        evil = await browser.get("/projects/default/feedback", headers={"origin": "https://evil.example"})
        assert evil.status_code == 401


async def test_the_summary_says_none_for_what_does_not_answer(http: httpx.AsyncClient) -> None:
    summary = (await http.get("/projects/default/summary")).json()
    assert summary["counts"]["feedback"] is not None
    assert summary["counts"]["datasets"] is None


async def test_the_document_of_the_api_is_closed_and_complete(http: httpx.AsyncClient) -> None:
    schemas = (await http.get("/openapi.json")).json()["components"]["schemas"]
    feedback = schemas["feedback_Feedback"]
    assert feedback["additionalProperties"] is False
    assert "correction" in feedback["required"]


async def test_a_fact_reaches_whoever_watches_and_carries_no_text(http: httpx.AsyncClient, platform: Platform) -> None:
    async def first_fact() -> dict[str, object]:
        async with http.stream("GET", "/events") as stream:
            async for line in stream.aiter_lines():
                if line == ": connected":
                    await http.post("/projects/default/keys", json={"role": "ROLE_VIEWER"})
                if line.startswith("data: "):
                    fact: dict[str, object] = json.loads(line.removeprefix("data: "))
                    return fact
        raise AssertionError("the stream ended")

    fact = await asyncio.wait_for(first_fact(), 20)
    assert str(fact["type"]).startswith("gyre.api_gateway.v1.")


async def test_every_change_of_a_key_is_an_event_without_its_secret(
    http: httpx.AsyncClient, platform: Platform
) -> None:
    secret = await new_key(http, "VIEWER")
    consumer = AIOKafkaConsumer(
        "gyre.api_gateway", bootstrap_servers=platform.settings().kafka_address, auto_offset_reset="earliest"
    )
    await consumer.start()
    seen: list[str] = []

    async def changed() -> bool:
        for records in (await consumer.getmany(timeout_ms=500)).values():
            seen.extend(record.value.decode() for record in records)
        return any('"role":"ROLE_VIEWER"' in body.replace(" ", "") for body in seen)

    await eventually(changed)
    await consumer.stop()
    assert not any(secret in body for body in seen)
