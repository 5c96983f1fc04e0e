"""The data plane's policies, made from the tables: pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from services.inference_gateway.models.policies import Prompt, PromptVersion, TrafficPolicy
from services.inference_gateway.policies.regions import is_allowed
from services.inference_gateway.proxy import policy
from services.inference_gateway.proxy.hardware import host_if_rented


def make(
    rows: Iterable[TrafficPolicy],
    prompts: Iterable[Prompt],
    versions: Iterable[PromptVersion],
    regions: Mapping[str, Collection[str]],
) -> dict[str, policy.Policy]:
    """By project; none for one that wants nothing. `regions`: where each project's prompts may go, of now."""
    served: dict[str, list[PromptVersion]] = {}
    for version in versions:
        served.setdefault(version.prompt, []).append(version)
    templates: dict[str, dict[str, policy.Prompt]] = {}
    for prompt in prompts:
        of_project = templates.setdefault(prompt.project, {})
        of_project[prompt.name.rsplit("/", 1)[-1]] = _prompt(prompt, served.get(prompt.name, ()))
    made = {project: policy.Policy(prompts=each) for project, each in templates.items()}
    for row in rows:
        guardrails, caching = _guardrails(row, regions.get(row.project, ())), _caching(row)
        if guardrails or caching:
            made[row.project] = policy.Policy(guardrails, caching, templates.get(row.project, {}))
    return made


def _guardrails(row: TrafficPolicy, regions: Collection[str]) -> policy.Guardrails | None:
    hook = _hook(row.hook, regions) if row.hook else None
    wanted = policy.Guardrails(row.prompt_data.lower(), row.answer_data.lower(), row.injection.lower(), hook)
    return wanted if wanted != policy.Guardrails() else None


def _hook(kept: dict[str, Any], regions: Collection[str]) -> policy.Hook:
    hook = policy.Hook(**kept)
    return replace(hook, sent_to=host_if_rented(hook.url), is_allowed=is_allowed(hook.url, hook.region, regions))


def _caching(row: TrafficPolicy) -> policy.Caching | None:
    return policy.Caching(**(row.cache | {"deployments": tuple(row.cache["deployments"])})) if row.cache else None


def _prompt(prompt: Prompt, versions: Sequence[PromptVersion]) -> policy.Prompt:
    return policy.Prompt(
        labels={label: str(number) for label, number in prompt.labels.items()},
        versions={
            str(each.number): policy.Template(each.parameters | {"messages": each.messages}, each.uses)
            for each in versions
        },
    )
