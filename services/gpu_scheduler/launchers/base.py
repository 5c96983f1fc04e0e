"""What a launcher is. One runs the work of each node: `Node.launcher` says which.

Required: start, look, stop, kill, sample, renew, reserve. Optional abilities are protocols of their own: `TellsEnds`,
`KnowsNodes`, `Closes`. What a launcher needs to find an attempt again after any restart is in its `Ref`, never in
memory. All methods block; call them in a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from services.gpu_scheduler.hardware import Machine
from services.gpu_scheduler.launchers.processes import ProcessRef

LOCAL, RAY, SLURM = "local", "ray", "slurm"
CREDENTIAL = "credential"
STDOUT, STDERR = "stdout.log", "stderr.log"
RESULT = "result.json"
Handle = Mapping[str, Any]  # JSON; what a launcher wants to be told again


class LaunchFailed(Exception):
    """No process came of it: the attempt is over before it began."""


class Unreachable(OSError):
    """The launcher's own system does not answer now. Nothing is known of its attempts, so nothing is concluded."""


@dataclass(frozen=True)
class Member:
    """The part of an attempt that runs on one node. `place` is what the launcher calls that node, `host` its address.

    `cards`: identifiers for the variable of visible devices, in the node's order.
    """

    node: str
    place: str = ""
    host: str = ""
    cpu_milli: int = 0
    memory_bytes: int = 0
    gpu: int = 0
    cards: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ref:
    """One attempt, as a launcher finds it. Members are in the order of their ranks.

    `workload` is its uid, `folder` what this machine keeps of the attempt, `handle` what `start` answered: empty before.
    """

    workload: str
    attempt: int
    folder: Path
    members: tuple[Member, ...]
    handle: Handle = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The same for each try at the same attempt: what makes a launch idempotent."""
        return f"{self.workload}-{self.attempt}"


@dataclass(frozen=True)
class Order:
    """Everything that starting one attempt takes. The launcher adds `credential_file` to the spec."""

    ref: Ref
    module: str
    spec: Mapping[str, Any]
    token: str = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Ended:
    """How an attempt ended, and what it left.

    No `code`: its processes vanished without a word, or there never were any. `asked_to_stop`: by a signal to its
    group. `lost_node`: that went, and the attempt with it. `error`: why it could not be launched.
    `last_words` are for people alone. `result` is what a job left in result.json, `bad_result` why nobody can read it.
    """

    code: int | None = None
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0
    asked_to_stop: bool = False
    error: str = ""
    last_words: str = ""
    result: str = ""
    bad_result: str = ""
    lost_node: str = ""


@dataclass(frozen=True)
class Endpoint:
    """Where a replica listens, at which host we find out whether it serves, and what others call, host:port."""

    listen: str
    probe: str
    address: str


@dataclass(frozen=True)
class RemoteNode:
    """A node that a launcher knows of: what it has, and what the launcher calls it."""

    machine: Machine
    place: str
    host: str
    labels: Mapping[str, str] = field(default_factory=dict)


class Launcher(Protocol):
    look_again: float  # seconds between two looks at work whose end nobody tells

    def start(self, order: Order) -> Handle:
        """Starts the attempt, or finds what an earlier call started. Raises: LaunchFailed; Unreachable."""

    def look(self, ref: Ref) -> Ended | None:
        """None while it runs. Ended only when nothing of it is left anywhere. Logs and result lie in `ref.folder` then.

        Raises: Unreachable.
        """

    def stop(self, ref: Ref, *, ask: bool, kill: bool) -> Ended | None:
        """One step of a stop: None while something still runs. An attempt that was not started never will be.

        Raises: Unreachable.
        """

    def kill(self, ref: Ref) -> None:
        """Ends at once what does not get ready; `look` then sees how it ended. Raises: Unreachable."""

    def sample(self, ref: Ref) -> tuple[float, int]:
        """Seconds of CPU so far, and resident bytes now; zeros where nobody counts. Raises: Unreachable."""

    def renew(self, ref: Ref, sign: Callable[[], str]) -> None:
        """Replaces the token of the attempt by `sign()`, if it is old enough. Raises: Unreachable."""

    def reserve(self, ref: Ref) -> int:
        """A port for a replica; asked once an attempt, before its start. Raises: LaunchFailed; Unreachable."""

    def endpoint(self, ref: Ref, port: int) -> Endpoint:
        """Where a replica listens on the port that was reserved for it, and who reaches it how."""


@runtime_checkable
class TellsEnds(Protocol):
    """The kernel tells the end of what it started: nobody has to look."""

    def leader(self, ref: Ref) -> ProcessRef: ...


@runtime_checkable
class KnowsNodes(Protocol):
    """It has a cluster of its own, whose nodes become ours."""

    def nodes(self) -> Sequence[RemoteNode]:
        """Those that are alive; all others are gone, with what ran on them. Raises: Unreachable."""


@runtime_checkable
class Closes(Protocol):
    """It keeps something open that has to be closed when the service ends; the work goes on."""

    def close(self) -> None: ...
