"""Stands between the service and the work: runs a module as its child and leaves word of how it ended.

`python shim.py READY_FD MODULE`, in the work folder of one attempt. It takes the attempt's only claim (the file `pid`)
before it runs anything, so that an attempt is launched at most once, however often somebody tries. It outlives the
service, and it ignores SIGTERM, which its group gets as a whole: the work decides how to stop.

In its environment: GYRE_CGROUP, a group of the kernel's to enter first; GYRE_LEASH, `pid:started` of a process without
which the work must not go on (a node of a cluster that counts it as gone): then all is killed.

Files: `pid` {pid, started}, by which the work is found again (also by `gyre down`); `exit.json` {code,
asked_to_stop, lost_leash, cpu_seconds, peak_memory_bytes, end_time}. Times are Unix seconds; a code below 0 is minus the signal's number.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

import psutil

CLAIM = "pid"
EXIT = "exit.json"
SPEC = "spec.json"
MARK = "GYRE_WORK_FOLDER"  # in the environment of all that an attempt starts, at any depth
CGROUP = "GYRE_CGROUP"
LEASH = "GYRE_LEASH"
LEASH_SECONDS = 0.5  # between two looks at the other end
LAST_WORD_SECONDS = 2.0
SAME_START_SECONDS = 2.0
RUSAGE_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes


def claim(folder: Path, pid: int, started: float) -> bool:
    """True for the one caller that gets the attempt. The file appears whole, by a link that cannot replace another."""
    whole = folder / f".{CLAIM}.{os.getpid()}.{threading.get_ident()}"
    whole.write_text(json.dumps({"pid": pid, "started": started}))
    try:
        os.link(whole, folder / CLAIM)
    except FileExistsError:
        return False
    finally:
        whole.unlink()
    return True


def main(ready_fd: int, module: str) -> None:
    folder = Path.cwd()
    stops: list[int] = []
    lost = threading.Event()
    work: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, _: FrameType | None) -> None:
        """The group's members have the signal already, but for a child that was not there yet."""
        stops.append(number)
        for child in work:
            with suppress(ProcessLookupError):
                child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, pass_on)
    if group := os.environ.get(CGROUP):
        (Path(group) / "cgroup.procs").write_text(str(os.getpid()))
    if leash := os.environ.get(LEASH):
        threading.Thread(target=_hold, args=(leash, lost), daemon=True).start()
    if not claim(folder, os.getpid(), psutil.Process().create_time()):
        return
    os.close(ready_fd)
    work.append(subprocess.Popen([sys.executable, "-P", "-m", module, SPEC]))
    if stops:
        work[0].send_signal(stops[0])
    code = work[0].wait()
    _leave_word(folder, code, asked_to_stop=bool(stops), lost_leash=lost.is_set())


def _hold(leash: str, lost: threading.Event) -> None:
    """Ends the work, and whatever it started at any depth, when the process at the other end is gone."""
    pid, started = leash.split(":")
    while True:
        try:
            process = psutil.Process(int(pid))
            lives = abs(process.create_time() - float(started)) < SAME_START_SECONDS
            if not lives or process.status() == psutil.STATUS_ZOMBIE:
                break
        except psutil.NoSuchProcess:
            break
        time.sleep(LEASH_SECONDS)
    lost.set()
    folder = str(Path.cwd())
    for pid in psutil.pids():
        with suppress(psutil.Error, OSError):
            process = psutil.Process(pid)
            if pid != os.getpid() and process.environ().get(MARK) == folder:
                process.kill()
    time.sleep(LAST_WORD_SECONDS)  # the shim sees the end of its child, leaves word, and is gone before this is over
    os.killpg(0, signal.SIGKILL)


def _leave_word(folder: Path, code: int, *, asked_to_stop: bool, lost_leash: bool) -> None:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    record = {
        "code": code,
        "asked_to_stop": asked_to_stop,
        "lost_leash": lost_leash,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_memory_bytes": used.ru_maxrss * RUSAGE_UNIT,
        "end_time": time.time(),
    }
    whole = folder / f".{EXIT}"
    with whole.open("w") as file:
        json.dump(record, file)
        file.flush()
        os.fsync(file.fileno())
    whole.replace(folder / EXIT)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
