"""The `slurm` launcher: an attempt is a job of a Slurm cluster, pinned to the nodes that the scheduler chose.

`$GYRE_HOME/work` has to be on a file system of all nodes, at the same path, and so has this Python. Slurm is asked by
its own commands, as argument lists. The job runs the same shim as `local`, which leaves the exit state in the folder;
what Slurm itself says (`scontrol`, else `sacct`) counts where the shim could leave none.
"""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gyre_kit.auth import write_private

from services.gpu_scheduler.launchers import environment, gang, mirror, remains, shim, slurm_member
from services.gpu_scheduler.launchers.base import (
    CREDENTIAL,
    Ended,
    Endpoint,
    Handle,
    LaunchFailed,
    Order,
    Ref,
    RemoteNode,
    Unreachable,
)
from services.gpu_scheduler.launchers.breaker import Breaker
from services.gpu_scheduler.launchers.gang import MemberEnd
from services.gpu_scheduler.launchers.local import RENEW_SECONDS
from services.gpu_scheduler.launchers.slurm_nodes import told_node

SECONDS = 20.0
LOG = "slurm.log"
PORTS = range(20_000, 32_000)
LIVE = frozenset({
    "PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING",
    "RESV_DEL_HOLD", "SPECIAL_EXIT",
})  # fmt: skip
LOST = frozenset({"NODE_FAIL", "BOOT_FAIL"})
NO_CONTROLLER = re.compile(r"contact slurm controller|Socket timed out|Connection refused|Zero Bytes", re.IGNORECASE)
NO_NODE = re.compile(r"ReqNodeNotAvail|DOWN|DRAINED")  # why a job waits whose nodes take no work any more
STOPPED = ""  # as the job of an attempt: none may have it any more


class Refused(Unreachable):
    """Slurm answers, and says no."""


@dataclass(frozen=True)
class JobState:
    """As Slurm tells it; `state` is empty where it knows of no such job, or not any more."""

    state: str = ""
    reason: str = ""


class Slurm:
    """`partition`: whose nodes take work."""

    look_again = 2.0

    def __init__(self, partition: str, own: Mapping[str, str] = os.environ) -> None:
        self._partition = partition
        self._breaker = Breaker()
        self._environment = environment.of_machine(own)
        self._environment |= {name: value for name, value in own.items() if name.startswith("SLURM_CONF")}

    def start(self, order: Order) -> Handle:
        """Raises: LaunchFailed; Unreachable."""
        ref = order.ref
        if _job_of(ref) == STOPPED:
            raise LaunchFailed("it was stopped before it began")
        if job := _job_of(ref) or next(iter(self._jobs(ref)), ""):
            return {"job": job}
        options = _options(ref, self._partition)
        try:
            _prepare(order)
            told = self._run("sbatch", *options, given=_script(ref))
        except Unreachable as error:
            if isinstance(error, Refused):
                raise LaunchFailed(str(error)) from error
            raise
        except OSError as error:
            raise LaunchFailed(f"{type(error).__name__}: {error}") from error
        return {"job": told.split(";")[0].strip()}

    def look(self, ref: Ref) -> Ended | None:
        """None while Slurm has it, and be it in its queue. A gang of which one failed is ended as a whole."""
        if _job_of(ref) == STOPPED:
            return None if self._withdrawn(ref) else Ended(lost_node=self._down(ref))
        job = self._state(_job_of(ref) or ref.handle.get("job") or next(iter(self._jobs(ref)), ""))
        ends = _ends(ref)
        if job.state == "PENDING" and NO_NODE.search(job.reason):
            slurm_member.claim(ref.folder, STOPPED)  # it would wait for a node that went; its next look withdraws it
            return None
        if job.state in LIVE:
            if gang.is_doomed(ends, []):
                self.kill(ref)
            return None
        for rank in range(len(ref.members)):
            (mirror.folder_of(ref, rank) / CREDENTIAL).unlink(missing_ok=True)
        if job.state in LOST:
            return gang.together(ends, ref.members[0].node if len(ref.members) == 1 else self._down(ref))
        if not ends:
            words = f"Slurm ended it: {job.state or 'it knows of no such job'} {job.reason}. {_last_line(ref)}"
            return Ended(asked_to_stop=job.state == "PREEMPTED", last_words=words.strip())
        silent = {rank: MemberEnd(Ended()) for rank in range(len(ref.members)) if rank not in ends}
        return gang.together(ends | silent, "")

    def stop(self, ref: Ref, *, ask: bool, kill: bool) -> Ended | None:
        ref.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        job = slurm_member.claim(ref.folder, STOPPED)
        if job == STOPPED:  # it never began, and cannot any more; what waits in Slurm's queue goes
            return None if self._withdrawn(ref) else Ended()
        if ask:
            self._signal(job, "TERM")
        if kill:
            self.kill(ref)
        return self.look(ref)

    def kill(self, ref: Ref) -> None:
        for job in self._jobs(ref):
            self._signal(job, "KILL")
            self._run("scancel", job, may_fail=True)

    def sample(self, ref: Ref) -> tuple[float, int]:
        """Slurm's own accounting counts it; here it is counted at the end, by the shim."""
        return 0.0, 0

    def renew(self, ref: Ref, sign: Callable[[], str]) -> None:
        path = ref.folder / CREDENTIAL
        if path.exists() and time.time() - path.stat().st_mtime < RENEW_SECONDS:
            return
        token = sign()
        for rank in range(len(ref.members)):
            remains.renew_credential(mirror.folder_of(ref, rank), token)

    def reserve(self, ref: Ref) -> int:
        """Nobody can ask the node yet: one by the attempt's name. Who loses a race for it gets another next time."""
        return _port(ref, "replica")

    def endpoint(self, ref: Ref, port: int) -> Endpoint:
        host = ref.members[0].host
        return Endpoint("0.0.0.0", host, f"{host}:{port}")

    def nodes(self) -> Sequence[RemoteNode]:
        lines = self._run("scontrol", "--oneliner", "show", "node", probe=True).splitlines()
        told = [told_node(line, self._partition) for line in lines]
        return [node for node in told if node is not None]

    def _withdrawn(self, ref: Ref) -> bool:
        """True while a job of it was in Slurm's queue still."""
        waiting = self._jobs(ref)
        for job in waiting:
            self._run("scancel", job, may_fail=True)
        return bool(waiting)

    def _jobs(self, ref: Ref) -> list[str]:
        """Ids of the jobs of this attempt that are not over."""
        told = self._run("squeue", "--noheader", f"--name={ref.name}", "--format=%i")
        return told.split()

    def _state(self, job: str) -> JobState:
        if not job:
            return JobState()
        told = self._job_record(job)
        if found := re.search(r"\bJobState=(\w+) Reason=(\S+)", told):
            return JobState(found[1], found[2])
        told = self._run(
            "sacct", "--noheader", "--parsable2", "-X", f"--jobs={job}", "--format=State,Reason", may_fail=True
        )
        state, _, reason = told.strip().partition("|")
        return JobState(state.split()[0] if state else "", reason)

    def _job_record(self, job: str) -> str:
        """Nothing where Slurm has forgotten it; every other refusal tells nothing of the job. Raises: Unreachable."""
        try:
            return self._run("scontrol", "--oneliner", "show", "job", job)
        except Refused as error:
            if "Invalid job id" not in str(error):
                raise
        return ""

    def _down(self, ref: Ref) -> str:
        """The member's node that Slurm does not offer; the first one, if it is back already."""
        there = {node.place for node in self.nodes()}
        return next((member.node for member in ref.members if member.place not in there), ref.members[0].node)

    def _signal(self, job: str, name: str) -> None:
        self._run("scancel", f"--signal={name}", job, may_fail=True)

    def _run(self, *command: str, given: str | None = None, may_fail: bool = False, probe: bool = False) -> str:
        """What the command says; nothing where it may fail and does. Raises: Unreachable; Refused, in its own words."""
        self._breaker.check(probe=probe)
        try:
            done = subprocess.run(
                command,
                check=False,
                input=given,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                env=self._environment,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            if may_fail and isinstance(error, FileNotFoundError):
                return ""
            self._breaker.was_silent()
            raise Unreachable(f"{command[0]}: {error}") from error
        if NO_CONTROLLER.search(done.stderr):
            self._breaker.was_silent()
            raise Unreachable(f"{command[0]}: {done.stderr.strip()[-300:]}")
        self._breaker.was_heard()
        if done.returncode and not may_fail:
            raise Refused(f"{command[0]} refused it: {done.stderr.strip()[-300:]}")
        return "" if done.returncode else done.stdout


def _prepare(order: Order) -> None:
    """All that the nodes read, before there is a job that reads it."""
    ref = order.ref
    mirror.prepare(ref)
    master, port = ref.members[0].host, _port(ref, "master")
    members = {}
    for rank, member in enumerate(ref.members):
        folder = mirror.folder_of(ref, rank)
        spec = {**order.spec, "credential_file": str(folder / CREDENTIAL)}
        write_private(folder / CREDENTIAL, order.token.encode())
        write_private(folder / shim.SPEC, json.dumps(spec, ensure_ascii=False, indent=1).encode())
        added = environment.of_rank(rank, len(ref.members), master, port) | {shim.MARK: str(folder)}
        members[member.place] = {"folder": str(folder), "gpu": member.gpu, "environment": added}
    told = {"module": order.module, "environment": dict(order.environment), "members": members}
    write_private(ref.folder / slurm_member.ORDER, json.dumps(told).encode())


def _options(ref: Ref, partition: str) -> list[str]:
    """Raises: LaunchFailed, for what no Slurm job can be."""
    wanted = {(member.cpu_milli, member.memory_bytes, member.gpu) for member in ref.members}
    places = [member.place for member in ref.members]
    if len(wanted) != 1 or len(set(places)) != len(places):
        raise LaunchFailed("a gang on Slurm wants the same on each of its nodes, and one member on each")
    ((cpu_milli, memory_bytes, gpu),) = wanted
    options = [
        "--parsable", "--no-requeue", "--export=ALL", f"--job-name={ref.name}", f"--partition={partition}",
        f"--nodes={len(places)}", "--ntasks-per-node=1", f"--nodelist={','.join(places)}",
        f"--cpus-per-task={max(1, math.ceil(cpu_milli / 1000))}", f"--chdir={ref.folder}",
        f"--output={ref.folder / LOG}",
    ]  # fmt: skip
    if memory_bytes:  # to Slurm 0 is all that the node has
        options.append(f"--mem={math.ceil(memory_bytes / 2**20)}M")
    if gpu:
        options.append(f"--gres=gpu:{gpu}")
    return options


def _script(ref: Ref) -> str:
    """Nothing in it comes from a user: three paths of ours, quoted."""
    member = Path(slurm_member.__file__)
    command = [sys.executable, "-P", str(member), str(ref.folder), shim.__file__]
    return f"#!/bin/sh\nexec srun --mpi=none --kill-on-bad-exit=0 {shlex.join(command)}\n"


def _job_of(ref: Ref) -> str | None:
    """The job that has the attempt; STOPPED if none may have it any more, None if none has it yet."""
    try:
        return (ref.folder / slurm_member.JOB).read_text()
    except FileNotFoundError:
        return None


def _ends(ref: Ref) -> dict[int, MemberEnd]:
    found = {}
    for rank in range(len(ref.members)):
        word = remains.word_of(mirror.folder_of(ref, rank))
        ended = remains.ended_by(word)
        if ended is not None:
            words = remains.last_words(mirror.folder_of(ref, rank))
            found[rank] = MemberEnd(Ended(**{**vars(ended), "last_words": words}), float(word.get("end_time", 0.0)))
    return found


def _port(ref: Ref, purpose: str) -> int:
    return PORTS[zlib.crc32(f"{ref.name}/{purpose}".encode()) % len(PORTS)]


def _last_line(ref: Ref) -> str:
    try:
        lines = (ref.folder / LOG).read_text(errors="replace").strip().splitlines()
    except FileNotFoundError:
        return ""
    return lines[-1][:300] if lines else ""
