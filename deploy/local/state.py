"""What the supervisor knows, in `run/state.json`: read by `gyre status`, and by the next supervisor after a kill."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from deploy.local.processes import ProcessRef


class Phase(StrEnum):
    STARTING = "STARTING"
    READY = "READY"
    RESTARTING = "RESTARTING"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"


@dataclass(frozen=True)
class ChildState:
    """One supervised process. Times are Unix seconds; `last_exit` is a sentence for people."""

    name: str
    phase: Phase = Phase.STOPPED
    process: ProcessRef | None = None
    ready_at: float = 0.0
    restarts: int = 0
    failed_starts: int = 0
    last_exit: str = ""
    previous_pid: int = 0

    def changed(self, **values: Any) -> ChildState:
        return replace(self, **values)


@dataclass
class RuntimeState:
    """The whole runtime. `error` says why it could not start at all."""

    supervisor: ProcessRef
    version: str
    home: str
    phase: Phase = Phase.STARTING
    processes: int = 8
    started_at: float = 0.0
    ready_at: float = 0.0
    error: str = ""
    children: dict[str, ChildState] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Replaces the file whole, so that a reader never sees half of it."""
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(json.dumps(asdict(self), indent=1))
        os.replace(temporary, path)

    @classmethod
    def read(cls, path: Path) -> RuntimeState | None:
        """None if no supervisor has run in this home, or its file is damaged."""
        try:
            return cls._parse(json.loads(path.read_text()))
        except (FileNotFoundError, json.JSONDecodeError, KeyError, TypeError, ValueError):
            return None

    @classmethod
    def _parse(cls, data: dict[str, Any]) -> RuntimeState:
        children = {name: _child(child) for name, child in data.pop("children").items()}
        supervisor = ProcessRef(**data.pop("supervisor"))
        return cls(supervisor=supervisor, phase=Phase(data.pop("phase")), children=children, **data)


def _child(data: dict[str, Any]) -> ChildState:
    process = ProcessRef(**data["process"]) if data["process"] else None
    return ChildState(**data | {"phase": Phase(data["phase"]), "process": process})
