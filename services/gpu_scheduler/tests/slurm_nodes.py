"""A real Slurm cluster on this machine: munged, slurmctld and three slurmd, each a process of its own, as root.

Of Debian's `slurm-wlm` and `munge`. Its cards are simulated (a copy of /dev/null for each) and its nodes say so by a feature.
There is no slurmdbd, so `sacct` answers nothing: the exit state comes from `scontrol`.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from services.gpu_scheduler.tests.test_launcher import until

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue", "scancel")
NODES = {"slurm-0": ("a100", 4), "slurm-1": ("a100", 4), "slurm-2": ("l4", 1)}
SBIN = "/usr/sbin:/usr/bin:/bin"


@dataclass
class SlurmCluster:
    folder: Path
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def conf(self) -> Path:
        return self.folder / "slurm.conf"

    def start(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            environment = {**os.environ, "SLURM_CONF": str(self.conf), "PATH": SBIN}
            self.daemons[name] = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=self.folder)

    def kill(self, name: str) -> None:
        self.daemons[name].kill()
        self.daemons[name].wait()


def is_installed() -> bool:
    return os.geteuid() == 0 and all(shutil.which(name, path=SBIN) for name in PROGRAMS)


@contextmanager
def running(folder: Path) -> Iterator[SlurmCluster]:
    """Up when all its nodes are idle."""
    cluster = SlurmCluster(folder)
    _write_configuration(folder)
    try:
        munge = folder / "munge"
        cluster.start(
            "munged", "munged", "--foreground", "--force", f"--key-file={munge}/key", f"--socket={munge}/socket",
            f"--pid-file={munge}/pid", f"--log-file={munge}/log", f"--seed-file={munge}/seed",
        )  # fmt: skip
        until((munge / "socket").exists)
        cluster.start("slurmctld", "slurmctld", "-D", "-f", str(cluster.conf))
        for name in NODES:
            cluster.start(name, "slurmd", "-D", "-N", name, "-f", str(cluster.conf))
        until(lambda: _idle(cluster) == len(NODES))
        yield cluster
    finally:
        for daemon in reversed(cluster.daemons.values()):
            daemon.kill()
            daemon.wait()


def _idle(cluster: SlurmCluster) -> int:
    environment = {**os.environ, "SLURM_CONF": str(cluster.conf)}
    told = subprocess.run(
        ["scontrol", "-o", "show", "node"], check=False, capture_output=True, text=True, env=environment
    )
    return told.stdout.count("State=IDLE ")


def _write_configuration(folder: Path) -> None:
    for name in ("munge", "state", *(f"spool-{node}" for node in NODES)):
        (folder / name).mkdir(parents=True, mode=0o755)
    (folder / "munge" / "key").write_bytes(secrets.token_bytes(128))
    (folder / "munge" / "key").chmod(0o600)
    (folder / "gres.conf").write_text(
        "".join(
            f"NodeName={name} Name=gpu Type={kind} File={folder}/card-{name}-[0-{count - 1}]\n"
            for name, (kind, count) in NODES.items()
        )
    )
    for name, (_, count) in NODES.items():
        for index in range(count):
            os.mknod(folder / f"card-{name}-{index}", stat.S_IFCHR | 0o600, os.stat("/dev/null").st_rdev)
    control, *ports = _free_ports(1 + len(NODES))
    host = socket.gethostname()
    nodes = "".join(
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=4 RealMemory=4000"
        f" Gres=gpu:{kind}:{count} Feature=gyre-simulated State=UNKNOWN\n"
        for (name, (kind, count)), port in zip(NODES.items(), ports, strict=True)
    )
    (folder / "slurm.conf").write_text(f"""ClusterName=gyre
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
GresTypes=gpu
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SlurmdTimeout=10
InactiveLimit=0
KillWait=2
MinJobAge=300
SchedulerParameters=batch_sched_delay=1,sched_interval=5
{nodes}PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
""")


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    found = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return found
