"""A chat through the OpenAI endpoint, streamed. Applications use any OpenAI client; this is for `gyre chat`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from gyre_sdk.config import Config
from gyre_sdk.errors import UNREACHABLE, GyreError


@dataclass(frozen=True)
class Piece:
    """A piece of the answer. `completion` names the answer for feedback; `usage` is in the last piece alone."""

    text: str
    completion: str
    usage: dict[str, int] | None = None


def stream(config: Config, model: str, messages: list[dict[str, str]], **options: Any) -> Iterator[Piece]:
    """Raises: GyreError."""
    body = {"model": model, "messages": messages, "stream": True, "stream_options": {"include_usage": True}, **options}
    headers = {"authorization": f"Bearer {config.key}"}
    url = f"{config.openai_url}/chat/completions"
    timeout = httpx.Timeout(300.0, connect=5.0)
    try:
        with httpx.stream("POST", url, json=body, headers=headers, timeout=timeout) as response:
            if response.is_error:
                response.read()
                raise _error(response)
            yield from _pieces(response.iter_lines())
    except httpx.TransportError as error:
        message = f"The OpenAI endpoint at {config.openai_url} does not answer ({error})."
        raise GyreError(0, UNREACHABLE, message, "`gyre status` shows whether it runs; `gyre up` starts it.") from error


def _pieces(lines: Iterator[str]) -> Iterator[Piece]:
    for line in lines:
        if not line.startswith("data:") or line.endswith("[DONE]"):
            continue
        chunk = json.loads(line[5:])
        if "error" in chunk:
            raise GyreError(502, "UPSTREAM_ERROR", str(chunk["error"].get("message", chunk["error"])))
        choices = chunk.get("choices") or [{}]
        yield Piece((choices[0].get("delta") or {}).get("content") or "", chunk.get("id", ""), chunk.get("usage"))


def _error(response: httpx.Response) -> GyreError:
    """OpenAI's error shape."""
    try:
        error = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        return GyreError(response.status_code, "HTTP", f"The endpoint answered HTTP {response.status_code}.")
    reason = str(error.get("code") or error.get("type") or "OPENAI_ERROR").upper()
    return GyreError(response.status_code, reason, str(error.get("message", "")))
