"""Use cases: prompts in versions that never change, and labels that lead to them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from gyre_kit import resources
from gyre_kit.auth import caller
from gyre_kit.db import Session
from gyre_kit.errors import Invalid, NotFound, Precondition
from gyre_kit.names import last, project_of, slug

from services.inference_gateway import store
from services.inference_gateway.models.policies import Prompt, PromptVersion
from services.inference_gateway.policies import store as policy_store
from services.inference_gateway.proxy import bounds, templates
from services.inference_gateway.proxy.errors import ApiError

MOST_PROMPTS = 200  # of a project: the data plane holds them all
NEWEST_SERVED = 20  # versions of each that it holds, beside those with a label
MOST_BYTES = 64 * 1024
MOST_LABELS = 20
MOST_MOVES = 100
ROLES = ("system", "user", "assistant")
# What a request says for itself alone.
NOT_IN_A_PROMPT = frozenset({"model", "messages", "prompt", "stream", "stream_options", "user", "store", "n"})


class BadPrompt(Invalid):
    """A prompt has messages of system, user and assistant, parameters as a JSON object without those that each request
    says for itself, and at most 64 KiB of both."""


class BadLabel(Invalid):
    """A label is a word such as production: letters, digits and hyphens, not a number; a prompt has at most 20."""


class TooManyPrompts(Precondition):
    """A project has at most 200 prompts."""


class PromptNotFound(NotFound):
    """There is no such prompt."""


class PromptVersionNotFound(NotFound):
    """The prompt has no such version."""


async def existing(session: Session, name: str, *, lock: bool = False) -> Prompt:
    """Raises: PromptNotFound."""
    found = await policy_store.prompt(session, name, lock=lock)
    if found is None:
        raise PromptNotFound(name=name)
    return found


async def version(session: Session, name: str) -> PromptVersion:
    """Raises: PromptVersionNotFound."""
    prompt, _, number = name.rpartition("/versions/")
    found = await policy_store.version(session, prompt, int(number)) if number.isdecimal() and len(number) < 9 else None
    if found is None:
        raise PromptVersionNotFound(name=name)
    return found


async def create_version(
    session: Session,
    name: str,
    messages: Sequence[dict[str, str]],
    parameters_json: str,
    *,
    display_name: str = "",
    comment: str = "",
    label: str = "",
) -> tuple[Prompt, PromptVersion]:
    """Of the prompt `name`, which is made if there is none. Raises: BadPrompt; BadLabel; TooManyPrompts."""
    parameters = _parameters(messages, parameters_json)
    prompt = await _prompt(session, name, display_name)
    newest = await policy_store.version(session, prompt.name, prompt.newest_version)
    if newest is None or (newest.messages, newest.parameters) != (list(messages), parameters):
        number = prompt.newest_version + 1
        newest = PromptVersion(
            name=f"{prompt.name}/versions/{number}",
            project=prompt.project,
            prompt=prompt.name,
            number=number,
            comment=comment,
            messages=list(messages),
            parameters=parameters,
            uses=templates.variables_of(list(messages)),
        )
        prompt.newest_version = number
        session.add(newest)
    if label:
        _move(session, prompt, label, newest.number)
    await session.flush()
    return prompt, newest


async def set_label(session: Session, name: str, label: str, number: int, *, etag: str = "") -> Prompt:
    """`number` 0 takes it away. Raises: PromptNotFound; PromptVersionNotFound; BadLabel; EtagMismatch."""
    prompt = await existing(session, name, lock=True)
    resources.check_etag(prompt, etag)
    if number and await policy_store.version(session, name, number) is None:
        raise PromptVersionNotFound(name=f"{name}/versions/{number}")
    _move(session, prompt, label, number)
    await session.flush()
    return prompt


async def delete(session: Session, name: str, *, etag: str = "") -> None:
    """With all its versions. Raises: PromptNotFound; EtagMismatch."""
    prompt = await existing(session, name, lock=True)
    resources.check_etag(prompt, etag)
    await policy_store.delete_prompt(session, prompt)


async def _prompt(session: Session, name: str, display_name: str) -> Prompt:
    """Locked. Raises: BadName; NotFound; TooManyPrompts."""
    project = project_of(name)
    if name != f"projects/{project}/prompts/{slug(last(name))}" or await store.project(session, project) is None:
        raise PromptNotFound(name=name)
    prompt = await policy_store.prompt(session, name, lock=True)
    if prompt is None:
        if await policy_store.lock_prompts_of(session, project) >= MOST_PROMPTS:
            raise TooManyPrompts(project=project)
        prompt = await policy_store.prompt(session, name, lock=True)  # somebody else may have made it meanwhile
    if prompt is None:
        prompt = Prompt(name=name, project=project, display_name=last(name))
        session.add(prompt)
    if display_name:
        prompt.display_name = display_name
    return prompt


def _move(session: Session, prompt: Prompt, label: str, number: int) -> None:
    """Raises: BadLabel."""
    is_word = label.replace("-", "").isalnum() and label.isascii() and label.islower() and not label.isdecimal()
    if not is_word or len(label) > 40:
        raise BadLabel(given=label[:80])
    before = prompt.labels.get(label, 0)
    if before == number:
        return
    labels = {each: at for each, at in prompt.labels.items() if each != label} | ({label: number} if number else {})
    if len(labels) > MOST_LABELS:
        raise BadLabel(given=label, most=str(MOST_LABELS))
    prompt.labels = labels
    move = {"label": label, "from_version": before, "to_version": number, "moved_by": caller().subject}
    prompt.history = [move | {"time": session.clock.now().isoformat()}, *prompt.history][:MOST_MOVES]


def _parameters(messages: Sequence[dict[str, str]], given: str) -> dict[str, Any]:
    """Raises: BadPrompt."""
    if not messages or any(each["role"] not in ROLES for each in messages):
        raise BadPrompt(field="messages")
    try:
        parameters = json.loads(given or "{}")
        size = len(json.dumps([list(messages), parameters]).encode())
    except (ValueError, RecursionError) as error:
        raise BadPrompt(field="parameters_json", why=str(error)[:200]) from error
    if not isinstance(parameters, dict) or not NOT_IN_A_PROMPT.isdisjoint(parameters) or size > MOST_BYTES:
        raise BadPrompt(field="parameters_json")
    try:
        bounds.check(parameters)
        bounds.check_depth(given.encode(), parameters)
    except ApiError as error:
        raise BadPrompt(field="parameters_json", why=error.message) from error
    return parameters
