"""HTTP to api_gateway: JSON in and out, problems as `GyreError`, server-sent events line by line."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from gyre_sdk.config import Config
from gyre_sdk.errors import TIMEOUT, UNREACHABLE, GyreError

RETRIES = 4  # of an answer that says "later": 3 s in all
REFUSED_RETRIES = 1  # of a refused connection: whoever started nothing wants to hear so at once
FIRST_RETRY_SECONDS = 0.2
RETRIED_STATUSES = (502, 503, 504)
SAFE_VERBS = ("GET", "DELETE")

Content = bytes | Iterable[bytes]


@dataclass(frozen=True)
class ServerEvent:
    """One server-sent event; `kind` is `message` unless the server named it."""

    kind: str
    data: dict[str, Any]


class Transport:
    """One connection pool to one Gyre, as one key."""

    def __init__(self, config: Config, timeout: float = 30.0) -> None:
        headers = {"authorization": f"Bearer {config.key}"} if config.key else {}
        self.config = config
        self._http = httpx.Client(base_url=f"{config.url}/api/v1", headers=headers, timeout=timeout)

    def close(self) -> None:
        self._http.close()

    def call(
        self,
        verb: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        content: Content | None = None,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """The JSON of the reply. Repeats what is safe to repeat: reads, and bodies that carry a `request_id`.

        Raises: GyreError.
        """
        repeatable = content is None and (verb in SAFE_VERBS or bool(body and body.get("request_id")))
        response = self._send(verb, path, RETRIES if repeatable else 0, query, body, content, timeout)
        if response.is_error:
            raise _problem(response)
        reply: dict[str, Any] = response.json() if response.content else {}
        return reply

    def text(self, path: str, query: Mapping[str, Any]) -> Iterator[str]:
        """A plain-text reply in pieces, as they come; no limit on the time between them."""
        with self._stream(path, query) as response:
            yield from response.iter_text()

    def content(self, path: str, offset: int = 0) -> Iterator[bytes]:
        """The bytes of a file from `offset` on, as they come."""
        headers = {"range": f"bytes={offset}-"} if offset else {}
        with self._stream(path, {}, headers) as response:
            yield from response.iter_raw()

    def events(self, path: str, query: Mapping[str, Any] | None = None) -> Iterator[ServerEvent]:
        """Server-sent events until the server ends the stream. Raises: GyreError, also for an event `problem`."""
        with self._stream(path, query or {}) as response:
            yield from parse_events(response.iter_lines())

    def _send(
        self,
        verb: str,
        path: str,
        retries: int,
        query: Mapping[str, Any] | None,
        body: Mapping[str, Any] | None,
        content: Content | None,
        timeout: float | None,
    ) -> httpx.Response:
        options: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
        for attempt in range(retries + 1):
            try:
                response = self._http.request(verb, path, params=query, json=body, content=content, **options)
                if response.status_code not in RETRIED_STATUSES or attempt == retries:
                    return response
            except httpx.TransportError as error:
                patience = REFUSED_RETRIES if isinstance(error, httpx.ConnectError) else retries
                if attempt >= min(patience, retries):
                    raise self._unreachable(error) from error
            time.sleep(FIRST_RETRY_SECONDS * 2**attempt)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _stream(self, path: str, query: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> _Streaming:
        patient = httpx.Timeout(10.0, read=None)
        return _Streaming(self, self._http.build_request("GET", path, params=query, headers=headers, timeout=patient))

    def open_stream(self, request: httpx.Request) -> httpx.Response:
        try:
            response = self._http.send(request, stream=True)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        if response.is_error:
            response.read()
            response.close()
            raise _problem(response)
        return response

    def _unreachable(self, error: httpx.TransportError) -> GyreError:
        url = self.config.url
        if isinstance(error, httpx.TimeoutException):
            return GyreError(0, TIMEOUT, f"{url} did not answer in time.", "`gyre status` shows which part is slow.")
        remedy = "Start it with `gyre up`, or set GYRE_URL to where it runs."
        return GyreError(0, UNREACHABLE, f"No Gyre answers at {url} ({error}).", remedy)


class _Streaming:
    """Opens at `with`; a connection that breaks off meanwhile is a GyreError like any other."""

    def __init__(self, transport: Transport, request: httpx.Request) -> None:
        self._transport, self._request = transport, request
        self._response: httpx.Response | None = None

    def __enter__(self) -> httpx.Response:
        self._response = self._transport.open_stream(self._request)
        return self._response

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if self._response is not None:
            self._response.close()
        if isinstance(error, httpx.TransportError):
            raise self._transport._unreachable(error) from error


def parse_events(lines: Iterable[str]) -> Iterator[ServerEvent]:
    """The `data` of each event as JSON. Ends at `event: end`; raises GyreError at `event: problem`."""
    kind, data = "message", ""
    for line in lines:
        if line.startswith("event:"):
            kind = line[6:].strip()
        elif line.startswith("data:"):
            data += line[5:].strip()
        elif not line and data:
            if kind == "end":
                return
            event = ServerEvent(kind, json.loads(data))
            if kind == "problem":
                raise GyreError.from_problem(0, event.data)
            yield event
            kind, data = "message", ""


def _problem(response: httpx.Response) -> GyreError:
    try:
        problem = response.json()
    except ValueError:
        problem = {"detail": f"{response.request.url} answered HTTP {response.status_code}, and not as Gyre does."}
    return GyreError.from_problem(response.status_code, problem if isinstance(problem, dict) else {})
