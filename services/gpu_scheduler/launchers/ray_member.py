"""One member of an attempt on a node of a Ray cluster: an actor that launches there as `local` does here.

Same shim, same folder, same files; the folder is `<work_folder>/<workload>/<attempt>/<rank>` on that node. An actor that
dies is made again and finds its work by that folder. The work is on the leash of the node's raylet: Ray counts a node
without it as dead, and what it counts as dead must not go on working.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from services.gpu_scheduler.launchers import remains, shim
from services.gpu_scheduler.launchers.base import RESULT, STDERR, STDOUT, LaunchFailed, Member, Order, Ref
from services.gpu_scheduler.launchers.local import Local, free_port

PIECE = 512 * 1024  # bytes of a log with one look
PORT = "port"


class MemberActor:
    def __init__(self, work_folder: str, workload: str, attempt: int, rank: int, gpu: int) -> None:
        self._above = Path(work_folder).expanduser() / workload
        cards = tuple(os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")) if gpu else ()
        self._member = Member("", gpu=gpu, cards=cards)
        self._rank = rank
        self._attempt = attempt
        self._home = str(Path(work_folder).expanduser())
        self._local = Local("0.0.0.0")

    def pid(self) -> int:
        return os.getpid()

    def port(self) -> int:
        """A free one of this node, the same whenever it is asked."""
        path = self._ref.folder / PORT
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.write_text(str(free_port("")))
        return int(path.read_text())

    def begin(self, order: Mapping[str, Any]) -> str:
        """Starts it here, once whatever a lower attempt left here is gone. Answers why it could not; empty if it did."""
        if not self._fenced():
            return "a lower attempt still runs on this node and could not be killed"
        added = {"GYRE_HOME": self._home, shim.LEASH: _raylet()}
        try:
            self._local.start(
                Order(self._ref, order["module"], order["spec"], order["token"], {**order["environment"], **added})
            )
        except LaunchFailed as failure:
            return str(failure)
        return ""

    def look(self, offsets: Mapping[str, int]) -> dict[str, Any]:
        """`ended`: as `base.Ended`, None while it runs; `lost`: because this node's raylet went; `end_time`: Unix seconds.

        `logs`: what follows the offsets, base64, at most a piece of each. `result`: what a job left, base64.
        """
        ended = self._local.look(self._ref)  # before the logs are read: what came before the end is in them
        logs = {name: _piece(self._ref.folder / name, offsets.get(name, 0)) for name in (STDOUT, STDERR)}
        found: dict[str, Any] = {"ended": None, "end_time": 0.0, "lost": False, "logs": logs, "result": None}
        if ended is not None:
            word = remains.word_of(self._ref.folder)
            found["ended"] = asdict(ended)
            found |= {"end_time": word.get("end_time", 0.0), "lost": bool(word.get("lost_leash"))}
            found["result"] = _result(self._ref.folder)
        return found

    def stop(self, ask: bool, kill: bool) -> bool:
        """True when nothing of it is left here, and nothing of it will ever begin."""
        return self._local.stop(self._ref, ask=ask, kill=kill) is not None

    def sample(self) -> tuple[float, int]:
        return self._local.sample(self._ref)

    def renew(self, token: str) -> None:
        remains.renew_credential(self._ref.folder, token)

    @property
    def _ref(self) -> Ref:
        folder = self._above / str(self._attempt) / str(self._rank)
        return Ref(self._above.name, self._attempt, folder, (self._member,))

    def _fenced(self) -> bool:
        """Lower attempts can have left only what their actor lost sight of."""
        lower = [path for path in self._above.glob("*/*") if path.parent.name.isdigit()]
        refs = [Ref(self._above.name, int(path.parent.name), path, (self._member,)) for path in lower]
        below = [ref for ref in refs if ref.attempt < self._attempt]
        return all(self._local.stop(ref, ask=False, kill=True) is not None for ref in below)


def _raylet() -> str:
    """pid:started of the raylet under which this actor runs."""
    above = psutil.Process().parents()
    raylet = next((each for each in above if each.name() == "raylet"), above[0])
    return f"{raylet.pid}:{raylet.create_time()}"


def _piece(path: Path, offset: int) -> str:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return base64.b64encode(file.read(PIECE)).decode()
    except FileNotFoundError:
        return ""


def _result(folder: Path) -> str | None:
    """What a job left, whole; one that is too large goes along by so much more than the limit that it is refused."""
    try:
        with (folder / RESULT).open("rb") as file:
            return base64.b64encode(file.read(remains.MAX_RESULT_BYTES + 1)).decode()
    except FileNotFoundError:
        return None
