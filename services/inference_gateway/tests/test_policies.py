"""What a project wants done to its traffic, and its prompts: kept, checked, and told to the data plane."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from gyre.inference_gateway.v1.prompt_service_pb2 import ListPromptsRequest
from gyre.inference_gateway.v1.traffic_policy_pb2 import AnswerCache as Cache
from gyre.inference_gateway.v1.traffic_policy_pb2 import GuardrailHook as Hook
from gyre.inference_gateway.v1.traffic_policy_pb2 import TrafficPolicy
from gyre_kit.auth import Identity, Role, acting_as
from gyre_kit.db import Session
from gyre_kit.errors import Invalid, NotFound
from gyre_kit.names import last
from gyre_kit.resources import EtagMismatch
from gyre_kit.testing import PROJECT, ManualClock

from services.inference_gateway import store
from services.inference_gateway.models.projects import KnownProject
from services.inference_gateway.policies import api as policy_api
from services.inference_gateway.policies import prompts, traffic_policies
from services.inference_gateway.policies import snapshot as policies
from services.inference_gateway.policies import store as policy_store
from services.inference_gateway.policies.regions import RegionRefused
from services.inference_gateway.proxy import policy

NAME = f"projects/{PROJECT}/trafficPolicy"
PROMPT = f"projects/{PROJECT}/prompts/triage"
TURNS = [{"role": "system", "content": "You sort calls of {{company}}."}, {"role": "user", "content": "{{call}}"}]
STRANGER = Identity(subject="keys/x", project="elsewhere", role=Role.ADMIN)


@pytest.fixture(autouse=True)
async def project(session: Session) -> None:
    await store.put_project(session, KnownProject(project=PROJECT, active=True, consent_to_keep=True))


async def served(session: Session) -> policy.Policy | None:
    """What the data plane is told of the project."""
    rows, (found, versions) = await policy_store.policies(session), await policy_store.served(session, 2)
    regions = {PROJECT: await store.regions_of(session, PROJECT)}
    return policies.make(rows, found, versions, regions).get(PROJECT)


async def set_policy(session: Session, **fields: Any) -> Any:
    given = TrafficPolicy(name=NAME, **fields)
    return await traffic_policies.update(session, given, [name for name in fields if name != "etag"])


async def test_a_project_that_set_nothing_has_no_policy_and_one_that_takes_all_back_has_none_again(
    session: Session,
) -> None:
    assert policy_api.policy_to_proto(await traffic_policies.of_project(session, NAME)).prompt_data == 1
    assert await served(session) is None
    await set_policy(session, prompt_data="ACTION_MARK", cache=Cache(mode="MODE_ALWAYS", deployments=["hotline"]))
    made = await served(session)
    assert made is not None
    assert made.guardrails == policy.Guardrails(prompt_data="mark")
    assert made.caching == policy.Caching(always=True, seconds=3600.0, deployments=("hotline",))
    row = await set_policy(session, prompt_data="ACTION_ALLOW", cache=Cache())
    assert await served(session) is None
    with pytest.raises(EtagMismatch):
        await set_policy(session, injection="ACTION_FLAG", etag=str(row.revision + 7))


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt_data": "ACTION_FLAG"},
        {"answer_data": "ACTION_REFUSE"},
        {"injection": "ACTION_MARK"},
        {"hook": Hook(url="http://127.0.0.1:1/")},
        {"hook": Hook(url="ftp://127.0.0.1/", before=True)},
        {"hook": Hook(url="http://169.254.169.254/", before=True)},
        {"hook": Hook(url="http://127.0.0.1:1/", before=True, timeout={"seconds": 31})},
        {"cache": Cache(mode="MODE_ALWAYS", ttl={"seconds": -1})},
        {"update_time": {"seconds": 1}},
    ],
)
async def test_what_makes_no_sense_or_may_not_be_asked_is_refused(session: Session, fields: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        await set_policy(session, **fields)


async def test_a_hook_outside_goes_by_where_prompts_may_go(session: Session) -> None:
    with pytest.raises(RegionRefused):
        await set_policy(session, hook=Hook(url="https://judge.example.com", before=True))
    await set_policy(session, hook=Hook(url="http://127.0.0.1:9/judge", after=True, fails_open=True))
    made = await served(session)
    assert made is not None
    assert made.guardrails is not None
    assert made.guardrails.hook == policy.Hook(
        "http://127.0.0.1:9/judge", 1.0, fails_open=True, before=False, after=True
    )


async def test_a_hook_outside_is_asked_in_its_region_and_no_longer_when_that_is_ruled_out(session: Session) -> None:
    project = KnownProject(project=PROJECT, active=True, consent_to_keep=True, regions=["eu"])
    await store.put_project(session, project)
    with pytest.raises(RegionRefused):
        await set_policy(session, hook=Hook(url="https://judge.example.com", before=True, region="us"))
    row = await set_policy(session, hook=Hook(url="https://judge.example.com", before=True, region="EU "))
    assert policy_api.policy_to_proto(row).hook.region == "eu"
    made = await served(session)
    assert made is not None and made.guardrails is not None and made.guardrails.hook is not None
    assert (made.guardrails.hook.sent_to, made.guardrails.hook.is_allowed) == ("judge.example.com", True)
    await store.put_project(session, KnownProject(project=PROJECT, active=True, consent_to_keep=True, regions=["us"]))
    made = await served(session)
    assert made is not None and made.guardrails is not None and made.guardrails.hook is not None
    assert not made.guardrails.hook.is_allowed


async def test_a_stranger_finds_neither_policy_nor_prompt(session: Session) -> None:
    await prompts.create_version(session, PROMPT, TURNS, "{}")
    for name in ("projects/nowhere/trafficPolicy", f"projects/{PROJECT}/other"):
        with pytest.raises(NotFound):
            await traffic_policies.of_project(session, name)
    with pytest.raises(NotFound), acting_as(STRANGER):
        await prompts.create_version(session, "projects/nowhere/prompts/triage", TURNS, "{}")


async def test_a_version_never_changes_and_the_same_content_is_the_same_version(session: Session) -> None:
    parameters = json.dumps({"temperature": 0})
    _, first = await prompts.create_version(session, PROMPT, TURNS, parameters, label="production")
    _, again = await prompts.create_version(session, PROMPT, TURNS, parameters)
    prompt, second = await prompts.create_version(session, PROMPT, TURNS, "{}", comment="warmer")
    assert (first.number, again.number, second.number) == (1, 1, 2)
    assert (first.parameters, prompt.labels, prompt.newest_version) == ({"temperature": 0}, {"production": 1}, 2)
    shown = policy_api.version_to_proto(first, prompt)
    assert (list(shown.variables), list(shown.labels)) == (["call", "company"], ["production"])
    assert (await prompts.version(session, f"{PROMPT}/versions/2")).comment == "warmer"
    for wrong in ("3", "x", "²"):
        with pytest.raises(prompts.PromptVersionNotFound):
            await prompts.version(session, f"{PROMPT}/versions/{wrong}")


async def test_a_label_moves_with_its_history_and_the_data_plane_follows(session: Session) -> None:
    for number in range(5):
        await prompts.create_version(session, PROMPT, [*TURNS, {"role": "user", "content": str(number)}], "{}")
    await prompts.set_label(session, PROMPT, "production", 1)
    await prompts.set_label(session, PROMPT, "production", 2)
    prompt = await prompts.set_label(session, PROMPT, "canary", 5)
    moves = [(each.label, each.from_version, each.to_version) for each in policy_api.prompt_to_proto(prompt).history]
    assert moves == [("canary", 0, 5), ("production", 1, 2), ("production", 0, 1)]
    made = await served(session)
    assert made is not None
    triage = made.prompts["triage"]
    assert triage.labels == {"production": "2", "canary": "5"}
    assert list(triage.versions) == ["2", "4", "5"]
    assert triage.versions["2"].body["messages"][2]["content"] == "1"
    assert triage.versions["2"].uses == {"company": 1, "call": 1}
    await prompts.set_label(session, PROMPT, "production", 0)
    with pytest.raises(prompts.PromptVersionNotFound):
        await prompts.set_label(session, PROMPT, "production", 9)
    for label in ("7", "Prod", "a b", ""):
        with pytest.raises(prompts.BadLabel):
            await prompts.set_label(session, PROMPT, label, 1)


@pytest.mark.parametrize(
    ("turns", "parameters"),
    [
        ([], "{}"),
        ([{"role": "tool", "content": "x"}], "{}"),
        (TURNS, "[]"),
        (TURNS, "{"),
        (TURNS, '{"model": "x"}'),
        (TURNS, '{"n": 3}'),
        (TURNS, '{"response_format": ' + '{"a":' * 120 + "1" + "}" * 121),
        ([{"role": "user", "content": "x" * prompts.MOST_BYTES}], "{}"),
    ],
)
async def test_what_is_no_prompt_is_refused(session: Session, turns: Any, parameters: str) -> None:
    with pytest.raises(prompts.BadPrompt):
        await prompts.create_version(session, PROMPT, turns, parameters)


async def test_prompts_are_found_by_their_id_and_their_name_and_sorted(session: Session) -> None:
    for slug, title in (("triage", "Sorts calls"), ("greeting", "Says hello"), ("farewell", "Says 再见")):
        await prompts.create_version(session, f"projects/{PROJECT}/prompts/{slug}", TURNS, "{}", display_name=title)

    async def found(**asked: str) -> list[str]:
        request = ListPromptsRequest(parent=f"projects/{PROJECT}", **asked)
        return [last(row.name) for row in (await policy_store.prompt_page(session, request)).rows]

    assert await found(query="TRI") == ["triage"] and await found(query="再见") == ["farewell"]
    assert await found(query="says", order_by="display_name desc") == ["farewell", "greeting"]
    assert await found(query="prompts") == [] and await found(query="%") == []


async def test_a_deleted_prompt_is_gone_with_its_versions_and_for_the_data_plane(session: Session) -> None:
    prompt, _ = await prompts.create_version(session, PROMPT, TURNS, "{}", label="production")
    await prompts.create_version(session, f"{PROMPT}-other", TURNS, "{}")
    with pytest.raises(EtagMismatch):
        await prompts.delete(session, PROMPT, etag="of another time")
    await prompts.delete(session, PROMPT, etag=policy_api.prompt_to_proto(prompt).etag)
    for _ in range(2):
        with pytest.raises(prompts.PromptNotFound):
            await prompts.delete(session, PROMPT)
    with pytest.raises(prompts.PromptVersionNotFound):
        await prompts.version(session, f"{PROMPT}/versions/1")
    made = await served(session)
    assert made is not None and list(made.prompts) == ["triage-other"]
    _, anew = await prompts.create_version(session, PROMPT, TURNS, "{}")
    assert anew.number == 1


async def test_what_was_found_adds_up_by_the_hour_and_is_forgotten_after_a_month(
    session: Session, clock: ManualClock
) -> None:
    name = f"{NAME}/findings"
    seen = {(PROJECT, "prompt.email", "mark"): 2, (PROJECT, "cache", "hit"): 7}
    for hours in (0, 3, 30):
        clock.advance(hours=hours)
        await policy_store.add_findings(session, seen)
    _, rows = await traffic_policies.findings(session, name, None)
    assert [(row.what, row.action, row.count) for row in rows] == [("cache", "hit", 7), ("prompt.email", "mark", 2)]
    since, rows = await traffic_policies.findings(session, name, clock.now() - timedelta(hours=31))
    assert [row.count for row in rows] == [14, 4] and (since.minute, since.second) == (0, 0)
    clock.advance(days=32)
    await policy_store.add_findings(session, {(PROJECT, "cache", "miss"): 1})
    _, rows = await traffic_policies.findings(session, name, clock.now() - timedelta(days=60))
    assert [(row.action, row.count) for row in rows] == [("miss", 1)]
    for wrong in (NAME, f"{NAME}/other", "projects/nowhere/trafficPolicy/findings"):
        with pytest.raises(traffic_policies.ProjectNotFound):
            await traffic_policies.findings(session, wrong, None)
