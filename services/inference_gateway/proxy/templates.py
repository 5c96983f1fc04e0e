"""Prompts that a project keeps under a name, filled in with a request's variables.

A variable is put where `{{name}}` stands and is never looked into: braces within a value stay braces. There is no
logic in a template, and what comes of it is bounded before it is made.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from services.inference_gateway.proxy import bounds
from services.inference_gateway.proxy.asking import CHAT, Asking
from services.inference_gateway.proxy.errors import ApiError, bad_request

if TYPE_CHECKING:
    from services.inference_gateway.proxy.policy import Policy, Template

VARIABLE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]{0,63})\s*\}\}")
DEFAULT_LABEL = "production"
LONGEST = 4 * 1024 * 1024  # characters of all variables as often as they are used
MOST_NAMED = 20
Fields = dict[str, Any]


def fill(ask: Asking, policy: Policy | None, project: str) -> None:
    """Makes `ask` the chat completion that its `prompt` stands for: the template's messages before its own, and the
    template's parameters where it says none itself.

    Raises: ApiError 404 for a prompt or version that there is not; 400 that names the variable.
    """
    asked = ask.template
    slug, version, values = _read(asked)
    number, template = _find(policy, slug, version)
    _check(slug, template, values)
    own = {
        name: value for name, value in ask.fields.items() if name not in ("prompt", "messages") and value is not None
    }
    rendered = [_rendered(each, values) for each in template.body.get("messages", ())]
    defaults = {name: value for name, value in template.body.items() if name != "messages"}
    if "max_tokens" in own or "max_completion_tokens" in own:
        defaults = {
            name: value for name, value in defaults.items() if name not in ("max_tokens", "max_completion_tokens")
        }
    fields = defaults | own | {"messages": rendered + list(ask.fields.get("messages") or ())}
    bounds.check(fields)
    ask.fields, ask.raw = fields, json.dumps(fields, separators=(",", ":")).encode()
    ask.operation = CHAT
    ask.prompt = f"projects/{project}/prompts/{slug}/versions/{number}"


def variables_of(value: Any) -> dict[str, int]:
    """How often each variable stands in the texts of `value`."""
    uses: dict[str, int] = {}
    for text in _texts(value):
        for found in VARIABLE.finditer(text):
            uses[found[1]] = uses.get(found[1], 0) + 1
    return uses


def _read(asked: Any) -> tuple[str, str, dict[str, str]]:
    """Raises: ApiError 400."""
    slug, version = asked.get("id"), asked.get("version")
    if not isinstance(slug, str) or not slug:
        raise bad_request("invalid_value", "`prompt.id` must be the name of a prompt of this project.", "prompt.id")
    if version is not None and not isinstance(version, str):
        raise bad_request("invalid_type", "`prompt.version` must be a text: a number or a label.", "prompt.version")
    given = asked.get("variables")
    if given is not None and not isinstance(given, dict):
        raise bad_request("invalid_type", "`prompt.variables` must be an object.", "prompt.variables")
    return slug, version or "", {name: _value(name, each) for name, each in (given or {}).items()}


def _value(name: str, given: Any) -> str:
    if isinstance(given, dict) and given.get("type") == "input_text":
        given = given.get("text")
    if not isinstance(given, str):
        where = f"prompt.variables.{name[:64]}"
        raise bad_request("invalid_type", f"`{where}` must be a text.", where)
    return given


def _find(policy: Policy | None, slug: str, version: str) -> tuple[str, Template]:
    """Raises: ApiError 404."""
    prompt = policy.prompts.get(slug) if policy is not None else None
    if prompt is None:
        known = ", ".join(sorted(policy.prompts)[:MOST_NAMED]) if policy is not None else ""
        there = f"It has: {known}." if known else "It has none; `gyre prompts push` makes one."
        message = f"This project has no prompt '{slug[:100]}'. {there}"
        raise ApiError(404, "prompt_not_found", message, param="prompt.id")
    wanted = version or DEFAULT_LABEL
    number = prompt.labels.get(wanted, wanted)
    template = prompt.versions.get(number)
    if template is None:
        labels, numbers = ", ".join(sorted(prompt.labels)), ", ".join(prompt.versions)
        message = (
            f"The prompt '{slug}' has no version or label '{wanted[:100]}' here. Versions: {numbers}; labels: "
            f"{labels or 'none'}. An old version needs a label to be served."
        )
        raise ApiError(404, "prompt_version_not_found", message, param="prompt.version")
    return number, template


def _check(slug: str, template: Template, values: dict[str, str]) -> None:
    """Raises: ApiError 400."""
    for name in template.uses:
        if name not in values:
            message = f"The prompt '{slug}' needs the variable '{name}': send it in `prompt.variables`."
            raise bad_request("prompt_variable_missing", message, f"prompt.variables.{name}")
    for name in values:
        if name not in template.uses:
            message = f"The prompt '{slug}' has no variable '{name[:64]}'. Leave it out."
            raise bad_request("prompt_variable_unknown", message, f"prompt.variables.{name[:64]}")
    if sum(len(values[name]) * count for name, count in template.uses.items()) > LONGEST:
        message = f"The prompt '{slug}' would be longer than {LONGEST:,} characters with these variables."
        raise bad_request("prompt_too_long", message, "prompt.variables")


def _rendered(value: Any, values: dict[str, str]) -> Any:
    if isinstance(value, str):
        return VARIABLE.sub(lambda found: values[found[1]], value)
    if isinstance(value, dict):
        return {name: _rendered(each, values) for name, each in value.items()}
    if isinstance(value, list):
        return [_rendered(each, values) for each in value]
    return value


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for child in children for text in _texts(child)]
