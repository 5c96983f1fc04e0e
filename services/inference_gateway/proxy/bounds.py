"""What a body may ask for at most, where an engine would pay for it before it could refuse.

A few bytes of JSON can mean a grammar of millions of rules. Bodies that need no looking at are told by counting bytes.
"""

from __future__ import annotations

import re
from typing import Any

from services.inference_gateway.proxy.errors import ApiError, bad_request

MAX_CHOICES = 128  # as OpenAI
MAX_DEPTH = 100
# llama.cpp's grammar of an object with n optional properties has n² rules: 300 take it 0.2 s, 1,000 take 3 s.
MAX_SCHEMA_NODES = 5_000
MAX_PROPERTIES = 300
MAX_LISTED = 500  # and so has an enum: 500 values take it 0.7 s, 2,000 take 8 s
MAX_SCHEMA_WORK = MAX_LISTED**2  # all such squares together
MAX_PATTERN = 512  # characters
# llama.cpp follows every way to read a text: (a|b)* 20 times over takes it seconds a token, 40 times over for ever.
MAX_CHOICES_OF_PATTERN = 8
MAX_CHOICES_OF_PATTERNS = 64  # of a schema
MAX_LOGPROBS = 128  # OpenAI: 20; each is text in the answer, and llama.cpp gives its whole vocabulary if it is asked to
MAX_LAST_TOKENS = 65_536  # looked back on by a sampler: 2^31 make llama.cpp take two gigabytes, or all there are
LISTS = {"stop": 128, "logit_bias": 1024, "samplers": 64, "dry_sequence_breakers": 8}
QUANTIFIER = re.compile(r"[*+]|\{(\d+)(,?)(\d*)\}")
CHOICES, PROBABILITIES, LAST_TOKENS = (
    ("n", "best_of"),
    ("top_logprobs", "n_probs"),
    ("repeat_last_n", "dry_penalty_last_n"),
)
SCHEMAS = ("response_format", "json_schema", "tools", "functions", "guided_json", "structured_outputs")
BOUNDED = frozenset((*CHOICES, *PROBABILITIES, *LAST_TOKENS, *LISTS, *SCHEMAS, "logprobs", "grammar"))


def check_depth(raw: bytes, fields: dict[str, Any]) -> None:
    """Raises: ApiError 400 if `fields`, which `raw` says, is nested deeper than engines and records bear."""
    if _is_flat(fields) or raw.count(b"{") + raw.count(b"[") <= MAX_DEPTH:
        return
    level: list[Any] = [fields]
    for _ in range(MAX_DEPTH):
        level = [child for each in level for child in _children(each) if isinstance(child, (dict, list))]
        if not level:
            return
    raise bad_request("too_deep", f"The body is nested deeper than {MAX_DEPTH} levels. Send a flatter one.")


def _is_flat(fields: dict[str, Any]) -> bool:
    """Whether it is a usual body, told without looking at its texts: nothing lies deeper than in a message."""
    for value in fields.values():
        if isinstance(value, dict):
            return False
        if isinstance(value, list):
            if len(value) > MAX_LISTED:
                return False
            for each in value:
                if isinstance(each, list):
                    return False
                if isinstance(each, dict):
                    for inner in each.values():
                        if isinstance(inner, (dict, list)):
                            return False
    return True


def check(fields: dict[str, Any]) -> None:
    """Raises: ApiError 400 that names the field."""
    if BOUNDED.isdisjoint(fields):  # most ask for nothing of the kind
        return
    for name in CHOICES:
        _check_number(fields, name, 1, MAX_CHOICES)
    for name in PROBABILITIES:
        _check_number(fields, name, 0, MAX_LOGPROBS)
    if fields.get("logprobs") is not None and not isinstance(fields["logprobs"], bool):
        _check_number(fields, "logprobs", 0, MAX_LOGPROBS)
    for name in LAST_TOKENS:
        _check_number(fields, name, -1, MAX_LAST_TOKENS)
    for name, most in LISTS.items():
        given = fields.get(name)
        if isinstance(given, (dict, list)) and len(given) > most:
            raise bad_request("invalid_value", f"`{name}` may have at most {most:,} entries.", name)
    if fields.get("grammar") is not None:
        what = "`grammar` is not taken, for some grammars stop an engine. Say what you want as a JSON schema in `response_format`."
        raise bad_request("unsupported_parameter", what, "grammar")
    for name in SCHEMAS:
        if name in fields:
            check_schema(fields[name], name)


def _check_number(fields: dict[str, Any], name: str, least: int, most: int) -> None:
    number = fields.get(name)
    if number is not None and (type(number) is not int or not least <= number <= most):
        raise bad_request("invalid_value", f"`{name}` must be a whole number from {least} to {most:,}.", name)


def check_schema(schema: Any, name: str) -> None:
    """Raises: ApiError 400 if the JSON schemas within are larger than an engine should turn into a grammar."""
    nodes, work, choices = 0, 0, 0
    waiting = [schema] if isinstance(schema, (dict, list)) else []
    while waiting:
        each = waiting.pop()
        nodes += 1
        work += len(each) ** 2
        wide = len(each) > (MAX_PROPERTIES if isinstance(each, dict) else MAX_LISTED)
        if wide or work > MAX_SCHEMA_WORK or nodes + len(waiting) > MAX_SCHEMA_NODES:
            raise bad_request(
                "schema_too_large",
                f"The JSON schema in `{name}` is too large: at most {MAX_PROPERTIES} properties in an object, {MAX_LISTED} "
                f"values in a list, and {MAX_SCHEMA_NODES:,} parts in all. Ask for less at once.",
                name,
            )
        choices += _choices(each, name)
        waiting += [child for child in _children(each) if isinstance(child, (dict, list))]
    if choices > MAX_CHOICES_OF_PATTERNS:
        raise _bad_pattern(name)


def _choices(node: Any, name: str) -> int:
    """How often the pattern of a schema may be read on in more than one way; a group that is repeated counts as often."""
    pattern = node.get("pattern") if isinstance(node, dict) else None
    if not isinstance(pattern, str):
        return 0
    choices, repeats = 0, 0
    for found in QUANTIFIER.finditer(pattern[:MAX_PATTERN]):
        least, comma, most = found.groups()
        choices += 0 if least and not comma else 1
        if least and pattern[: found.start()].endswith(")"):
            repeats += int((most or least)[:9])
    if choices > 1:
        choices += repeats
    if len(pattern) > MAX_PATTERN or choices > MAX_CHOICES_OF_PATTERN:
        raise _bad_pattern(name)
    return choices


def _bad_pattern(name: str) -> ApiError:
    what = (
        f"A pattern of the JSON schema in `{name}` is too much for an engine: at most {MAX_PATTERN} characters, and at most "
        f"{MAX_CHOICES_OF_PATTERN} repeats that may vary (*, +, {{m,n}}). Check the text when you have it."
    )
    return bad_request("schema_too_large", what, name)


def _children(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value
