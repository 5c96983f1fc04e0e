"""Work that gpu_scheduler launched: it outlives the services on purpose, so `gyre down` has to end it by itself.

The launcher leaves `work/<workload>/<attempt>/pid` (its shape is not ours): JSON with `pid` and `started`, or both
numbers in plain text.
"""

from __future__ import annotations

import json
from pathlib import Path

from deploy.local.processes import ProcessRef


def running(work_folder: Path) -> list[ProcessRef]:
    """The leaders of all recorded workloads that still run."""
    refs = [_read(path) for path in sorted(work_folder.glob("*/*/pid"))]
    return [ref for ref in refs if ref is not None and ref.alive()]


def _read(path: Path) -> ProcessRef | None:
    """None where the file is not whole: its process is then found by the mark in its environment."""
    try:
        text = path.read_text()
        if text.lstrip().startswith("{"):
            record = json.loads(text)
            return ProcessRef(int(record["pid"]), float(record["started"]))
        pid, started = text.split()[:2]
        return ProcessRef(int(pid), float(started))
    except (OSError, ValueError, KeyError):
        return None
