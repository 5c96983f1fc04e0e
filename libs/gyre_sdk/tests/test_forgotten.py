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


def feedback(number: int, state: str, versions: list[str]) -> Feedback:
    made = Feedback(name=f"projects/p/feedback/0{number}", number=number, state=Feedback.State.Value(state))
    made.completion = "projects/p/completions/chatcmpl-1"
    made.dataset_versions.extend(versions)
    return made


def test_the_data_set_versions_that_hold_rows_still_are_named_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    held = ["projects/p/datasets/hotline/versions/2", "projects/p/datasets/hotline-preferences/versions/2"]
    found = [
        feedback(1, "STATE_APPROVED", held),
        feedback(2, "STATE_APPROVED", held[:1]),
        feedback(3, "STATE_FORGOTTEN", []),
    ]
    asked: list[dict[str, Any]] = []

    def listed(**query: Any) -> Iterator[Feedback]:
        asked.append(query)
        return iter(found)

    @contextmanager
    def connect() -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(feedback=SimpleNamespace(list=listed))

    CliRunner().invoke(cli, ["feedback", "--help"])  # its module is there then
    monkeypatch.setattr(sys.modules["gyre_sdk.cli.feedback"], "connect", connect)
    done = CliRunner().invoke(cli, ["feedback", "forgotten"])
    assert done.exit_code == 0, done.output
    assert asked == [{"filter": "completion_deleted=true"}]
    assert "hotline@2 hotline-preferences@2" in done.output
    assert "Data set versions that hold rows of them: 2." in done.output
