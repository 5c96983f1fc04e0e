from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from gyre_kit.testing import session_of

from services.dataset.importer.pipeline import Job, Outcome, run
from services.dataset.tests.samples import PUBLIC_DATA, read_rejects

# The published files are no part of the repository; tests/contract/test_public_data.py has their shapes in any case.
collect_ignore = [] if PUBLIC_DATA.is_dir() else ["test_public_data.py"]
session = session_of("dataset")


class Imported:
    """What one import left behind."""

    def __init__(self, outcome: Outcome, out: Path) -> None:
        self.outcome, self.out = outcome, out
        self.rejects = read_rejects(out)

    def rows(self, name: str = "rows") -> list[dict[str, Any]]:
        return list(pq.read_table(self.out / f"{name}.parquet").to_pylist())

    @property
    def reasons(self) -> list[tuple[int, str, str]]:
        return [(reject["line"], reject["field"], reject["reason"]) for reject in self.rejects]


@pytest.fixture
def imported(tmp_path: Path) -> Callable[..., Imported]:
    """Imports bytes, a file, or a mix alone: `imported(content, filename, dataset_type="SFT", **job)`."""
    count = iter(range(1000))

    def run_import(
        source: bytes | Path | None, filename: str = "rows.jsonl", dataset_type: str = "SFT", **job: Any
    ) -> Imported:
        folder = tmp_path / str(next(count))
        out = folder / "out"
        out.mkdir(parents=True)
        if isinstance(source, bytes):
            (folder / "source").write_bytes(source)
            source = folder / "source"
        return Imported(run(Job(dataset_type, source=str(source or ""), filename=filename, **job), out), out)

    return run_import
