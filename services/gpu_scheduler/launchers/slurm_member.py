"""What srun starts on each node of a Slurm job: `python -P slurm_member.py FOLDER SHIM`. Needs the standard library alone.

Finds its rank by the node's name, takes the attempt for its job (a second job of one attempt finds it taken, and so does
one that comes after a stop), and becomes the shim in its rank's folder. The folder is on a file system of all nodes.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

JOB, ORDER = "job", "order.json"
OWN = "SLURM_"


def claim(folder: Path, job: str) -> str:
    """The job that has the attempt: `job`, if none had it. The file appears whole, by a link that replaces nothing."""
    whole = folder / f".{JOB}.{socket.gethostname()}.{os.getpid()}"
    whole.write_text(job)
    try:
        os.link(whole, folder / JOB)
    except FileExistsError:
        pass
    finally:
        whole.unlink()
    return (folder / JOB).read_text()


def main(folder: Path, shim: str) -> None:
    order: dict[str, Any] = json.loads((folder / ORDER).read_text())
    if claim(folder, os.environ["SLURM_JOB_ID"]) != os.environ["SLURM_JOB_ID"]:
        sys.exit("another job has this attempt, or it was stopped")
    member: dict[str, Any] = order["members"][os.environ["SLURMD_NODENAME"]]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(OWN)}
    environment |= order["environment"] | member["environment"]
    if not member["gpu"]:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    os.chdir(member["folder"])
    for name, number in (("stdout.log", 1), ("stderr.log", 2)):
        log = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, number)
    nobody_waits = os.dup(0)
    os.set_inheritable(nobody_waits, True)
    os.execve(sys.executable, [sys.executable, "-P", shim, str(nobody_waits), order["module"]], environment)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
