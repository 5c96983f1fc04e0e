"""What all collections of resources have: get, list page by page, wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import uuid4

from google.protobuf.message import Message

from gyre_sdk import messages, names
from gyre_sdk.errors import TIMEOUT, GyreError
from gyre_sdk.messages import M
from gyre_sdk.transport import Transport

N = TypeVar("N", bound=Message)
PAGE_SIZE = 200
POLL_SECONDS = 0.5
PATIENCE_SECONDS = 60.0
FAILURES = ("FAILED", "CANCELLED", "DELETED", "EXPIRED")


@dataclass(frozen=True)
class Page(Generic[M]):
    items: list[M]
    next_page_token: str
    total_size: int


class Collection(Generic[M]):
    """Resources of one kind in one project. Wherever a name is asked for, the id alone will do."""

    kind: type[M]
    plural: str
    ends: tuple[str, ...] = ()
    failures: tuple[str, ...] = FAILURES

    def __init__(self, transport: Transport, project: str) -> None:
        self._transport = transport
        self.project = project

    @property
    def parent(self) -> str:
        return f"projects/{self.project}"

    def name(self, name_or_id: str) -> str:
        """`projects/p/runs/01J…` of `01J…`, or of the name itself."""
        return name_or_id if name_or_id.startswith("projects/") else f"{self.parent}/{self.plural}/{name_or_id}"

    def get(self, name: str) -> M:
        """Raises: GyreError with status 404, also for another project's."""
        return self._get(self.kind, self.name(name))

    def page(self, page_token: str = "", page_size: int = 50, **query: Any) -> Page[M]:
        """One page. `query`: `filter` (`state=READY AND type=SFT`), `query` (text), `order_by`."""
        return self._page(self.kind, f"{self.parent}/{self.plural}", self.plural, page_token, page_size, **query)

    def list(self, **query: Any) -> Iterator[M]:
        """All of them, page after page."""
        return self._all(self.kind, f"{self.parent}/{self.plural}", self.plural, **query)

    def find(self, reference: str) -> M:
        """By name, id, or the short number that people see (`7` or `#7`)."""
        number = reference.removeprefix("#")
        if number.isdigit() and "number" in self.kind.DESCRIPTOR.fields_by_name:
            for item in self.list(query=number):
                if item.number == int(number):  # type: ignore[attr-defined]
                    return item
            raise GyreError(404, "NOT_FOUND", f"There is no number {number} among the {self.plural} of {self.project}.")
        return self.get(reference)

    def wait(
        self,
        name: str,
        timeout: float | None = None,
        on_update: Callable[[M], None] | None = None,
        check: bool = True,
    ) -> M:
        """Polls until it has ended. Raises: GyreError if it failed (unless `check` is False) or `timeout` s passed."""
        return self._wait(lambda: self.get(name), self.ends, timeout, on_update, check)

    # what the subclasses are made of

    def _get(self, kind: type[N], name: str) -> N:
        return messages.parse(kind, self._transport.call("GET", names.path(name)))

    def _post(self, kind: type[N], name: str, request: Message | None = None, verb: str = "") -> N:
        """POST to the resource or collection `name`, or to its custom method `verb`."""
        path = names.path(name) + (f":{verb}" if verb else "")
        body = messages.to_body(request) if request is not None else {}
        return messages.parse(kind, self._transport.call("POST", path, body=body))

    def _patch(self, kind: type[N], name: str, changes: dict[str, Any]) -> N:
        return messages.parse(kind, self._transport.call("PATCH", names.path(name), body=changes))

    def _delete(self, name: str, etag: str = "") -> None:
        self._transport.call("DELETE", names.path(name), query={"etag": etag} if etag else None)

    def _page(self, kind: type[N], name: str, plural: str, token: str, size: int, **query: Any) -> Page[N]:
        known = {key: value for key, value in query.items() if value not in (None, "")}
        known |= {"page_size": size} | ({"page_token": token} if token else {})
        reply = self._transport.call("GET", names.path(name), query=known)
        items = [messages.parse(kind, item) for item in reply.get(plural, ())]
        return Page(items, reply.get("next_page_token", ""), int(reply.get("total_size", len(items))))

    def _all(self, kind: type[N], name: str, plural: str, **query: Any) -> Iterator[N]:
        token = ""
        while True:
            page = self._page(kind, name, plural, token, PAGE_SIZE, **query)
            yield from page.items
            token = page.next_page_token
            if not token:
                return

    def _wait(
        self,
        get: Callable[[], N],
        ends: tuple[str, ...],
        timeout: float | None,
        on_update: Callable[[N], None] | None,
        check: bool,
    ) -> N:
        deadline = time.monotonic() + timeout if timeout is not None else None
        get = patient(get)
        while True:
            item = get()
            state = messages.enum_name(item, "state")
            if on_update is not None:
                on_update(item)
            if check and state in self.failures:
                raise failure_of(item, state)
            if state in ends or state in self.failures:
                return item
            if deadline is not None and time.monotonic() > deadline:
                raise GyreError(0, TIMEOUT, f"{_short(item)} is still {state} after {timeout:g} s.")
            time.sleep(POLL_SECONDS)


class Shared(Collection[M]):
    """Resources that all projects share, `nodes/…` or `cohorts/…`: their names have no project in them."""

    collection: str

    def name(self, name_or_id: str) -> str:
        return name_or_id if name_or_id.startswith(f"{self.collection}/") else f"{self.collection}/{name_or_id}"

    def page(self, page_token: str = "", page_size: int = 50, **query: Any) -> Page[M]:
        return self._page(self.kind, self.collection, self.plural, page_token, page_size, **query)

    def list(self, **query: Any) -> Iterator[M]:
        return self._all(self.kind, self.collection, self.plural, **query)


def patient(get: Callable[[], N], seconds: float = PATIENCE_SECONDS) -> Callable[[], N]:
    """Asks again while the platform does not answer, for at most `seconds`: a service that was killed comes back."""

    def ask() -> N:
        deadline = time.monotonic() + seconds
        while True:
            try:
                return get()
            except GyreError as error:
                if not error.unavailable or time.monotonic() > deadline:
                    raise
            time.sleep(POLL_SECONDS)

    return ask


def failure_of(item: Any, state: str) -> GyreError:
    """What a resource that ended badly says about it."""
    reason = getattr(item, "failure_reason", "") or state
    message = getattr(item, "failure_message", "") or f"It is {state}."
    return GyreError(0, reason, f"{names.short(item.name)} {state.lower()}: {message}", metadata={"name": item.name})


def _short(item: Any) -> str:
    return names.short(item.name)


def request_id() -> str:
    """Makes a Create idempotent, so that a call whose answer was lost can be repeated."""
    return uuid4().hex
