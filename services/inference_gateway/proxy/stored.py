"""`/v1/files` and `/v1/batches`: kept by the control plane, to which a worker hands these requests as they came.

A file that is sent goes by the disk (`spool.py`), one that is fetched streams through; all else is small JSON.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from services.inference_gateway.proxy.reply import Reply

FILES, BATCHES = "/v1/files", "/v1/batches"
METHODS: dict[str, tuple[str, ...]] = {
    FILES: ("GET", "POST"),
    f"{FILES}/{{file}}": ("GET", "DELETE"),
    f"{FILES}/{{file}}/content": ("GET",),
    BATCHES: ("GET", "POST"),
    f"{BATCHES}/{{batch}}": ("GET",),
    f"{BATCHES}/{{batch}}/cancel": ("POST",),
}
PATH = "/stored"  # on the control socket
# What goes over it beside the body, one header each.
FIELDS = ("project", "api_key", "role", "method", "path", "query", "content_type", "spool")


@dataclass(frozen=True, slots=True)
class StoredCall:
    """What a client asked for, and who it is. The body of an upload lies at `spool`, any other in `body`."""

    project: str
    api_key: str
    role: str
    method: str
    path: str
    query: str
    content_type: str
    spool: str
    body: bytes

    @property
    def upload(self) -> Path | None:
        return Path(self.spool) if self.spool else None


# Answers into the reply. May raise ApiError before it began to.
StoredSink = Callable[[StoredCall, Reply], Awaitable[None]]


def template_of(path: str) -> str:
    """`/v1/files/{file}` of `/v1/files/file-1`; empty for any other path."""
    match path.removeprefix("/v1/").split("/"):
        case ["files" | "batches"]:
            return path
        case ["files", thing] if thing:
            return f"{FILES}/{{file}}"
        case ["files", thing, "content"] if thing:
            return f"{FILES}/{{file}}/content"
        case ["batches", thing] if thing:
            return f"{BATCHES}/{{batch}}"
        case ["batches", thing, "cancel"] if thing:
            return f"{BATCHES}/{{batch}}/cancel"
    return ""


async def until_it_reads(reply: Reply) -> None:
    """Returns when the client has room for more."""
    if not reply.paused:
        return
    resumed = asyncio.Event()
    reply.on_resume = resumed.set
    await resumed.wait()
    reply.on_resume = None
