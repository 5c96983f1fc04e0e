"""`gyre feedback forgotten`: what data sets hold of completions that were deleted."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from gyre.feedback.v1.feedback_pb2 import Feedback
from gyre_sdk.cli.root import cli

GONE = {"completion": "projects/p/completions/chatcmpl-1"}


def test_the_data_set_versions_that_hold_rows_still_are_named_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    held = ["projects/p/datasets/hotline/versions/2", "projects/p/datasets/hotline-preferences/versions/2"]
    found = [
        Feedback(name="projects/p/feedback/01", number=1, state="STATE_APPROVED", dataset_versions=held, **GONE),
        Feedback(name="projects/p/feedback/02", number=2, state="STATE_APPROVED", dataset_versions=held[:1], **GONE),
        Feedback(name="projects/p/feedback/03", number=3, state="STATE_FORGOTTEN", **GONE),
    ]
    asked: list[dict[str, Any]] = []

    @contextmanager
    def connect() -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(feedback=SimpleNamespace(list=lambda **query: asked.append(query) or iter(found)))

    CliRunner().invoke(cli, ["feedback", "--help"])  # its module is there then
    monkeypatch.setattr(sys.modules["gyre_sdk.cli.feedback"], "connect", connect)
    done = CliRunner().invoke(cli, ["feedback", "forgotten"])
    assert done.exit_code == 0, done.output
    assert asked == [{"filter": "completion_deleted=true"}]
    assert "hotline@2 hotline-preferences@2" in done.output
    assert "Data set versions that hold rows of them: 2." in done.output
