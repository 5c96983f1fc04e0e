"""Bounds and time-outs of the data plane. Every one is `GYRE_PROXY_<FIELD>`; sizes in bytes, times in seconds."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB = 1024 * 1024
SCRATCH = "batch-"  # how folders begin in which a batch is put together


class ProxySettings(BaseSettings):
    """Read by each worker at its start."""

    model_config = SettingsConfigDict(env_prefix="GYRE_PROXY_", extra="ignore", frozen=True)

    workers: int = Field(1, ge=1, le=64, description="Worker processes on the same port (SO_REUSEPORT).")

    max_connections: int = Field(1024, ge=1, description="Client connections a worker holds; more get 503.")
    max_header_bytes: int = Field(32 * 1024, ge=1024, description="Request line and headers; more get 431.")
    max_body_bytes: int = Field(10 * MIB, ge=1024, description="A request's body; more gets 413.")
    max_buffered_bytes: int = Field(256 * MIB, ge=MIB, description="All bodies being received; more get 503.")
    max_response_bytes: int = Field(64 * MIB, ge=1024, description="A reply that is not streamed, and one SSE event.")
    max_upload_bytes: int = Field(200 * MIB, ge=1024, description="A file sent to /v1/files; more gets 413.")
    max_uploads: int = Field(4, ge=1, description="Files that a worker receives at once; more get 503.")
    max_pipelined: int = Field(16, ge=1, description="Requests waiting on one connection before it is read no more.")

    header_seconds: float = Field(10, gt=0, description="From the first byte of a request to the end of its headers.")
    body_seconds: float = Field(60, gt=0, description="From the headers to the end of the body.")
    upload_seconds: float = Field(600, gt=0, description="The same, for a file.")
    keep_alive_seconds: float = Field(75, gt=0, description="An idle connection is closed after this.")
    write_stall_seconds: float = Field(60, gt=0, description="A client that reads nothing for so long is dropped.")
    sweep_seconds: float = Field(0.5, gt=0, description="How often the time-outs of clients are looked at.")

    connect_seconds: float = Field(5, gt=0, description="To reach an engine.")
    first_byte_seconds: float = Field(300, gt=0, description="From the request to an engine to its first byte.")
    idle_seconds: float = Field(60, gt=0, description="Between two pieces of an answer.")
    total_seconds: float = Field(900, gt=0, description="One completion, all attempts together.")
    max_attempts: int = Field(3, ge=1, le=10, description="Targets asked for one completion before the first byte.")

    upstream_connections: int = Field(128, ge=1, description="Connections to one engine address.")
    upstream_waiting: int = Field(512, ge=0, description="Requests that wait for one of them; more get 503.")
    queue_seconds: float = Field(
        30, gt=0, description="How long a request may have to wait for a place at an engine; longer gets 429 at once."
    )
    wake_seconds: float = Field(
        60, gt=0, description="How long a request waits for a deployment that sleeps to be awake; longer gets 503."
    )
    wake_waiting: int = Field(256, ge=0, description="Requests that a worker lets wait for one; more get 503.")
    shadow_requests: int = Field(8, ge=0, description="Copies for shadows that a worker has under way; more are left.")
    upstream_idle_seconds: float = Field(30, gt=0, description="An unused connection to an engine is closed then.")
    allow_loopback: bool = Field(True, description="Upstream URLs may point to this machine.")
    allow_private: bool = Field(False, description="Upstream URLs may point into private networks.")

    cache_bytes: int = Field(
        64 * MIB, ge=0, description="Answers that a worker keeps for projects with an exact cache; 0: none."
    )

    assumed_answer_tokens: int = Field(
        1024, ge=1, description="Reserved of a budget for an answer of whose length the request says nothing (tokens)."
    )

    record_queue: int = Field(
        10_000, ge=1, description="Completions that wait while the disk refuses; the oldest are dropped."
    )
    record_queue_bytes: int = Field(64 * MIB, ge=1024, description="The same, in bytes.")
    record_max_bytes: int = Field(3 * MIB, ge=1024, description="A larger completion is not kept.")
    record_flush_seconds: float = Field(
        0.05, gt=0, description="How long completions are gathered in one file before it is synced and shipped."
    )
    spool_max_bytes: int = Field(1024 * MIB, ge=MIB, description="Completions on disk that wait for the control plane.")

    trace_ratio: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Of requests without a trace of their own, the share that is sent to the collector.",
    )
    usage_seconds: float = Field(
        5, gt=0, description="How often what was used goes to the books; a kill -9 costs them as much."
    )

    session_seconds: float = Field(3600, gt=0, description="How long a session (x-session-id) may be quiet and go on.")

    drain_seconds: float = Field(30, ge=0, description="What running answers get when a worker is stopped.")
    alone_seconds: float = Field(
        86_400, ge=0, description="How long a worker whose control plane died serves on, if no new one takes over."
    )
    snapshot_poll_seconds: float = Field(0.1, gt=0, description="How often the snapshot file is looked at.")
    status_seconds: float = Field(0.5, gt=0, description="How often a worker tells the control plane its load.")


class Paths:
    """Where the data plane keeps its files, below `$GYRE_HOME/gateway`."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "gateway"
        self.snapshot = self.folder / "snapshot.json"
        self.spool = self.folder / "spool"
        self.usage = self.folder / "usage"
        self.dead = self.folder / "spool-refused"
        self.metrics = self.folder / "metrics"
        self.sessions = self.folder / "sessions"
        self.ledger = self.folder / "ledger"
        self.control = self.folder / "control.sock"
        self.held = self.folder / "held"  # locked by the control plane that has these workers
        self.uploads = self.folder / "uploads"
        self.batches = self.folder / "batches"

    def create(self) -> None:
        for folder in (self.folder, self.spool, self.usage, self.dead, self.metrics, self.uploads, self.batches):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
