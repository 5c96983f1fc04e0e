"""JSON of strangers, read fast. What the fast reader does not know (numbers beyond 64 bits, half a surrogate pair) or says
too little about goes to the standard library's.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

import orjson


def asked(raw: bytes) -> Any:
    """What a client sent. Raises: ValueError (JSONDecodeError says where it goes wrong, UnicodeDecodeError too);
    RecursionError."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return _DECODER.decode(raw.decode("utf-8", "surrogatepass"))


def answered(raw: bytes) -> Any:
    """What an engine sent, which may say `NaN`. Raises: ValueError; RecursionError."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return json.loads(raw.decode())


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)  # `json.loads` would make one for every body
