"""Limits, budgets and expiry of keys and projects over REST."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

LIMITS = {"tokens_per_minute": "60000", "concurrent_requests": 4, "budget_microusd": "5000000",
          "budget_period": "BUDGET_PERIOD_DAY"}  # fmt: skip


async def make(http: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    return await http.post("/projects/default/keys", json={"role": "ROLE_VIEWER", **fields})


async def test_a_key_keeps_its_limits_and_they_can_be_changed(http: httpx.AsyncClient) -> None:
    made = (await make(http, limits=LIMITS)).json()
    assert made["limits"] == {**LIMITS, "budget_tokens": "0"}
    changed = await http.patch(
        f"/{made['name']}", json={"limits": {"budget_tokens": "100"}, "requests_per_minute": 7, "etag": made["etag"]}
    )
    assert changed.status_code == 200, changed.text
    assert changed.json()["requests_per_minute"] == 7
    assert changed.json()["limits"]["budget_tokens"] == "100"
    assert changed.json()["limits"]["tokens_per_minute"] == "0", "limits are replaced as a whole"
    assert changed.json()["limits"]["budget_period"] == "BUDGET_PERIOD_MONTH"
    stale = await http.patch(f"/{made['name']}", json={"requests_per_minute": 8, "etag": made["etag"]})
    assert stale.json()["reason"] == "ETAG_MISMATCH"


async def test_a_projects_limits_are_changed_like_its_name(http: httpx.AsyncClient) -> None:
    changed = await http.patch("/projects/default", json={"limits": LIMITS, "requests_per_minute": 100})
    assert changed.json()["limits"]["budget_microusd"] == "5000000"
    assert (await http.patch("/projects/default", json={"limits": {}, "requests_per_minute": 0})).status_code == 200


@pytest.mark.parametrize(
    ("fields", "reason", "where"),
    [
        ({"limits": {"budget_microusd": "-1"}}, "BAD_LIMITS", "limits.budget_microusd"),
        ({"limits": {"budget_microusd": "1000000000001"}}, "BAD_LIMITS", "limits.budget_microusd"),
        ({"requests_per_minute": -1}, "BAD_LIMITS", "requests_per_minute"),
        ({"expire_time": "2020-01-01T00:00:00Z"}, "EXPIRED_ALREADY", "expire_time"),
    ],
)
async def test_what_is_no_limit_is_refused_by_name(
    http: httpx.AsyncClient, fields: dict[str, Any], reason: str, where: str
) -> None:
    reply = await make(http, **fields)
    assert (reply.status_code, reply.json()["reason"]) == (400, reason)
    assert reply.json()["metadata"]["field"] == where


async def test_an_expired_key_opens_nothing(http: httpx.AsyncClient) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1)
    made = (await make(http, expire_time=soon.isoformat())).json()
    headers = {"authorization": f"Bearer {made['secret']}"}

    async def status() -> int:
        return (await http.get("/projects/default/feedback", headers=headers)).status_code

    assert await status() == 200
    from gyre_kit.testing import eventually

    async def refused() -> bool:
        return await status() == 401

    await eventually(refused)


async def test_a_revoked_key_cannot_be_changed(http: httpx.AsyncClient) -> None:
    made = (await make(http)).json()
    await http.post(f"/{made['name']}:revoke", json={})
    reply = await http.patch(f"/{made['name']}", json={"requests_per_minute": 1})
    assert (reply.status_code, reply.json()["reason"]) == (412, "KEY_REVOKED")
