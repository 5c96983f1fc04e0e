"""Which Gyre to talk to, as whom: from arguments, `GYRE_*` variables, or the home of a local one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from gyre_kit.addresses import CONSOLE_PORT, OPENAI_PORT

DEFAULT_PROJECT = "default"


@dataclass(frozen=True)
class Config:
    """`url`: of REST and console, without /api/v1. `openai_url`: with /v1. `key` may be empty: then calls get 401."""

    url: str
    openai_url: str
    key: str
    project: str


def load(url: str | None = None, key: str | None = None, project: str | None = None) -> Config:
    """Arguments first, then the environment, then the Gyre of `GYRE_HOME` (default `./.gyre`)."""
    offset = int(os.environ.get("GYRE_PORT_OFFSET", "0"))
    url = (url or os.environ.get("GYRE_URL") or f"http://127.0.0.1:{CONSOLE_PORT + offset}").rstrip("/")
    openai_url = os.environ.get("GYRE_OPENAI_URL") or f"http://127.0.0.1:{OPENAI_PORT + offset}/v1"
    return Config(
        url.removesuffix("/api/v1"),
        openai_url.rstrip("/"),
        key or os.environ.get("GYRE_API_KEY") or _admin_key(),
        project or os.environ.get("GYRE_PROJECT") or DEFAULT_PROJECT,
    )


def home() -> Path:
    return Path(os.environ.get("GYRE_HOME", ".gyre")).expanduser().resolve()


def _admin_key() -> str:
    """The key that api_gateway left at its first start; empty if there is none that we may read."""
    try:
        return (home() / "admin.key").read_text().strip()
    except OSError:
        return ""
