"""A kept prompt becomes messages with what the request puts in, and nothing that was put in is ever looked into."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from services.inference_gateway.proxy import policy, templates
from services.inference_gateway.proxy.policy import Policy, Prompt, Template
from services.inference_gateway.proxy.snapshot import Target, from_json, to_json
from services.inference_gateway.proxy.tests.conftest import Start
from services.inference_gateway.proxy.tests.support import Running, deployment
from services.inference_gateway.proxy.tests.test_guardrails import use
from services.inference_gateway.proxy.tests.upstreams import Raw, answers, raw


def template(body: dict[str, Any]) -> Template:
    return Template(body, templates.variables_of(body.get("messages")))


TRIAGE = Prompt(
    labels={"production": "2"},
    versions={
        "2": template({
            "messages": [
                {"role": "system", "content": "You sort calls of {{ company }}."},
                {"role": "user", "content": "Call: {{call}} ({{company}})"},
            ],
            "temperature": 0.1,
            "max_tokens": 9,
            "response_format": {"type": "json_object"},
        }),
        "3": template({"messages": [{"role": "system", "content": "Be short."}]}),
    },
)  # fmt: skip
VALUES = {"company": "Acme {{call}}", "call": 'She said "{{company}}" \\ twice'}


async def prompting(start: Start, engine: Raw) -> Running:
    gateway: Running = await start(deployment(Target("t", address=engine.address)))
    use(gateway, Policy(prompts={"triage": TRIAGE}))
    return gateway


async def ask(gateway: Running, prompt: dict[str, Any], **more: Any) -> Any:
    body = {"prompt": prompt} | more
    return await gateway.client().chat.completions.create(model="hotline", messages=[], extra_body=body)


async def test_variables_stand_where_they_belong_once_and_are_not_looked_into(start: Start) -> None:
    async with raw(answers()) as engine:
        gateway = await prompting(start, engine)
        more = [{"role": "user", "content": "{{call}}"}]
        await ask(
            gateway, {"id": "triage", "variables": VALUES}, messages=more, temperature=0.9, max_completion_tokens=5
        )
        (sent,) = engine.bodies()
        assert [each["content"] for each in sent["messages"]] == [
            "You sort calls of Acme {{call}}.",
            'Call: She said "{{company}}" \\ twice (Acme {{call}})',
            "{{call}}",
        ]
        assert (sent["temperature"], sent["response_format"]) == (0.9, {"type": "json_object"})
        assert ("max_tokens" in sent, sent["max_completion_tokens"], "prompt" in sent) == (False, 5, False)
        (record,) = await gateway.records()
        assert record.prompt == "projects/demo/prompts/triage/versions/2"


async def test_the_responses_api_takes_it_as_openai_spells_it(start: Start) -> None:
    async with raw(answers("ok")) as engine:
        gateway = await prompting(start, engine)
        prompt: Any = {"id": "triage", "version": "3"}
        response = await gateway.client().responses.create(model="hotline", prompt=prompt, input="Hello?")
        assert response.output_text == "ok"
        assert [each["content"] for each in engine.bodies()[0]["messages"]] == ["Be short.", "Hello?"]
        text: Any = {"company": "A", "call": {"type": "input_text", "text": "B"}}
        await gateway.client().responses.create(model="hotline", prompt={"id": "triage", "variables": text})
        assert engine.bodies()[1]["messages"][1]["content"] == "Call: B (A)"


@pytest.mark.parametrize(
    ("prompt", "status", "code", "named"),
    [
        ({"id": "triage", "variables": {"company": "A"}}, 400, "prompt_variable_missing", "call"),
        ({"id": "triage", "variables": VALUES | {"cal": "x"}}, 400, "prompt_variable_unknown", "cal"),
        ({"id": "triage", "variables": {"call": 7}}, 400, "invalid_type", "prompt.variables.call"),
        ({"id": "triage", "version": "9"}, 404, "prompt_version_not_found", "9"),
        ({"id": "other"}, 404, "prompt_not_found", "triage"),
        ({"id": 7}, 400, "invalid_value", "prompt.id"),
    ],
)
async def test_what_is_wrong_is_named(start: Start, prompt: Any, status: int, code: str, named: str) -> None:
    async with raw(answers()) as engine:
        gateway = await prompting(start, engine)
        with pytest.raises(openai.APIStatusError) as wrong:
            await ask(gateway, prompt)
        assert (wrong.value.status_code, wrong.value.code) == (status, code)
        assert named in wrong.value.message
        assert engine.requests == []


async def test_a_project_without_prompts_is_told_so_and_others_prompts_are_none_of_its_own(start: Start) -> None:
    async with raw(answers()) as engine:
        gateway = await start(deployment(Target("t", address=engine.address), project="other"))
        with pytest.raises(openai.NotFoundError, match="has no prompt"):
            await gateway.client("gyre-other").responses.create(model="hotline", prompt={"id": "triage"})


async def test_a_variable_that_is_used_often_cannot_blow_a_prompt_up(start: Start) -> None:
    async with raw(answers()) as engine:
        gateway = await prompting(start, engine)
        many = Prompt({"production": "1"}, {"1": template({"messages": [{"role": "user", "content": "{{a}}" * 2000}]})})
        use(gateway, Policy(prompts={"many": many}))
        with pytest.raises(openai.BadRequestError, match="longer than"):
            await ask(gateway, {"id": "many", "variables": {"a": "x" * 10_000}})


async def test_a_snapshot_says_the_same_after_it_was_a_file(start: Start) -> None:
    async with raw(answers()) as engine:
        gateway = await prompting(start, engine)
        hook = policy.Hook("http://127.0.0.1:1/x", fails_open=True)
        caching = policy.Caching(always=True, deployments=("a", "b"))
        use(gateway, Policy(policy.Guardrails("mark", hook=hook), caching, {"triage": TRIAGE}))
        snapshot = gateway.gateway.snapshot
        assert snapshot is not None
        assert from_json(to_json(snapshot)) == snapshot
