"""What a project wants done to its traffic besides serving it: guardrails, an exact cache, prompt templates.

Part of the snapshot. A project that wants none of it has no `Policy`, and pays one look for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

ALLOW, MARK, FLAG, REFUSE = "allow", "mark", "flag", "refuse"


@dataclass(frozen=True, slots=True)
class Hook:
    """A program of the project's own that is asked about prompts (`before`) and answers (`after`), within `seconds`.
    One that does not answer in time lets everything pass (`fails_open`) or nothing. `sent_to` is its host if that is not
    own hardware: what it is told leaves, unless the project's regions rule its `region` out (`is_allowed`)."""

    url: str
    seconds: float = 1.0
    fails_open: bool = False
    before: bool = True
    after: bool = False
    region: str = ""
    sent_to: str = ""
    is_allowed: bool = True


@dataclass(frozen=True, slots=True)
class Guardrails:
    """`prompt_data`: allow, mark or refuse; `answer_data`: allow or mark; `injection`: allow, flag or refuse."""

    prompt_data: str = ALLOW
    answer_data: str = ALLOW
    injection: str = ALLOW
    hook: Hook | None = None


@dataclass(frozen=True, slots=True)
class Caching:
    """`always`: also for a request that does not ask for it by `x-gyre-cache: on`. No `deployments`: all of them.
    `billed`: an answer from the cache costs what the engine's would."""

    always: bool = False
    seconds: float = 3600.0
    deployments: tuple[str, ...] = ()
    billed: bool = False


@dataclass(frozen=True, slots=True)
class Template:
    """One version of a prompt: `body` is what it gives to a chat completion, messages first; `uses` says how often
    each variable stands in it."""

    body: dict[str, Any]
    uses: dict[str, int]


@dataclass(frozen=True, slots=True)
class Prompt:
    """`labels` lead to versions, which are named by their number."""

    labels: dict[str, str] = field(default_factory=dict)
    versions: dict[str, Template] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Policy:
    """`prompts` by slug."""

    guardrails: Guardrails | None = None
    caching: Caching | None = None
    prompts: dict[str, Prompt] = field(default_factory=dict)


def from_fields(fields: dict[str, Any] | None) -> Policy | None:
    """Of what `asdict` made. Raises: KeyError, TypeError."""
    if fields is None:
        return None
    guardrails, caching = fields["guardrails"], fields["caching"]
    return Policy(
        _guardrails(guardrails), _caching(caching), {slug: _prompt(each) for slug, each in fields["prompts"].items()}
    )


def _guardrails(fields: dict[str, Any] | None) -> Guardrails | None:
    if fields is None:
        return None
    return Guardrails(**(fields | {"hook": Hook(**fields["hook"]) if fields["hook"] else None}))


def _caching(fields: dict[str, Any] | None) -> Caching | None:
    return Caching(**(fields | {"deployments": tuple(fields["deployments"])})) if fields is not None else None


def _prompt(fields: dict[str, Any]) -> Prompt:
    return Prompt(fields["labels"], {number: Template(**each) for number, each in fields["versions"].items()})
