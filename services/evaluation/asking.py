"""HTTP to an engine on this machine: one question, or an answer as it comes."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any, NamedTuple

SECONDS = 120.0


class Refused(OSError):
    """The engine's answer is no 2xx. Says what it said."""


class Running(NamedTuple):
    """An engine that answers. `pid`: of its program, whose children belong to it."""

    base_url: str
    model: str
    pid: int

    @property
    def root_url(self) -> str:
        """The server itself, where engines have paths of their own beside `/v1`."""
        return self.base_url.removesuffix("/v1")


def post(url: str, body: dict[str, Any]) -> Any:
    """Raises: Refused; OSError; ValueError for an answer that is no JSON."""
    with _request(url, body) as reply:
        return json.load(reply)


def stream(url: str, body: dict[str, Any]) -> Iterator[Any]:
    """The chunks of an answer as they arrive. Raises: as `post`."""
    with _request(url, body) as reply:
        for line in reply:
            if line.startswith(b"data: {"):
                yield json.loads(line[6:])


def _request(url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    try:
        return urllib.request.urlopen(request, timeout=SECONDS)
    except urllib.error.HTTPError as error:
        said = " ".join(error.read().decode(errors="replace").split())
        raise Refused(f"{url} answered {error.code}: {said[:300]}") from None
