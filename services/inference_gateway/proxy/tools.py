"""Calls of tools, as OpenAI writes them: whole in a message, in pieces in a stream."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Call = dict[str, str]  # id, name, arguments


def merged(pieces: Iterable[Any]) -> list[Call]:
    """The calls of one turn. A piece of a stream says by `index` which call it goes on with; what is no call is left
    out, for engines and clients write what they like.
    """
    calls: dict[int, Call] = {}
    for piece in pieces:
        for position, said in enumerate(piece if isinstance(piece, list) else ()):
            if isinstance(said, dict):
                index = said.get("index")
                _add(calls.setdefault(index if isinstance(index, int) else position, _empty()), said)
    return [calls[index] for index in sorted(calls)]


def _empty() -> Call:
    return {"id": "", "name": "", "arguments": ""}


def _add(call: Call, said: dict[str, Any]) -> None:
    function = said.get("function")
    told = function if isinstance(function, dict) else {}
    for name, value in (("id", said.get("id")), ("name", told.get("name")), ("arguments", told.get("arguments"))):
        if isinstance(value, str):
            call[name] += value
