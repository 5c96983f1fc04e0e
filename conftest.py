"""Fixtures that every test may ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import pytest
from gyre_kit.testing import clock, platform

__all__ = ["clock", "platform"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, Any, Any]:
    """Code under test may call `asyncio.run`, which leaves no loop behind; the session's own is put back."""
    local: Any = getattr(asyncio.get_event_loop_policy(), "_local", None)
    before = getattr(local, "_loop", None)
    result = yield
    if before is not None and not before.is_closed() and local._loop is None:
        asyncio.set_event_loop(before)
    return result
