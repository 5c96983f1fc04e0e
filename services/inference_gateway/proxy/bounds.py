"""What a body may ask for at most, where an engine would pay for it before it could refuse.

A few bytes of JSON can mean a grammar of millions of rules. Bodies that need no looking at are told by counting bytes.
"""

from __future__ import annotations

from typing import Any

from services.inference_gateway.proxy.errors import bad_request

MAX_CHOICES = 128  # as OpenAI
MAX_DEPTH = 100
# llama.cpp's grammar of an object with n optional properties has n² rules: 300 take it 0.2 s, 1,000 take 3 s.
MAX_SCHEMA_NODES = 5_000
MAX_PROPERTIES = 300


def check_depth(raw: bytes, fields: dict[str, Any]) -> None:
    """Raises: ApiError 400 if `fields`, which `raw` says, is nested deeper than engines and records bear."""
    if raw.count(b"{") + raw.count(b"[") <= MAX_DEPTH:
        return
    level: list[Any] = [fields]
    for _ in range(MAX_DEPTH):
        level = [child for each in level for child in _children(each) if isinstance(child, (dict, list))]
        if not level:
            return
    raise bad_request("too_deep", f"The body is nested deeper than {MAX_DEPTH} levels. Send a flatter one.")


def check(fields: dict[str, Any]) -> None:
    """Raises: ApiError 400 that names the field."""
    for name in ("n", "best_of"):
        count = fields.get(name)
        if count is not None and (type(count) is not int or not 1 <= count <= MAX_CHOICES):
            raise bad_request("invalid_value", f"`{name}` must be a whole number from 1 to {MAX_CHOICES}.", name)
    for name in ("response_format", "json_schema", "tools", "functions"):
        if name in fields:
            check_schema(fields[name], name)


def check_schema(schema: Any, name: str) -> None:
    """Raises: ApiError 400 if the JSON schemas within are larger than an engine should turn into a grammar."""
    nodes, waiting = 0, [schema]
    while waiting:
        each = waiting.pop()
        nodes += 1
        wide = isinstance(each, dict) and len(each) > MAX_PROPERTIES
        if wide or nodes + len(waiting) > MAX_SCHEMA_NODES:
            raise bad_request(
                "schema_too_large",
                f"The JSON schema in `{name}` is too large: at most {MAX_PROPERTIES} properties in an object and "
                f"{MAX_SCHEMA_NODES:,} parts in all. Ask for less at once.",
                name,
            )
        waiting += [child for child in _children(each) if isinstance(child, (dict, list))]


def _children(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value
