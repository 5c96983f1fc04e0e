"""What a launched process finds in its environment: a chosen few variables, and no secret of a service."""

from __future__ import annotations

import math
from collections.abc import Mapping

from services.gpu_scheduler.cards import visible_devices
from services.gpu_scheduler.launchers.base import Member
from services.gpu_scheduler.settings import Settings

OF_THE_MACHINE = (
    "PATH", "HOME", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "HF_HOME", "GYRE_BIND", "GYRE_RUNTIME_HOME",
)  # fmt: skip
PASSED_ON = (
    "HF_ENDPOINT", "HF_HUB_OFFLINE", "MALLOC_ARENA_MAX",
    "GYRE_PORT_OFFSET", "GYRE_PEER_HOST", "GYRE_OTLP_ENDPOINT", "GYRE_LOG_LEVEL", "GYRE_MODELSCOPE_ENDPOINT",
)  # fmt: skip
OBJECT_STORE_LOGIN = "AWS_"  # a worker reads and writes the object store by itself; with S3 it needs the keys
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def of_machine(own: Mapping[str, str]) -> dict[str, str]:
    """What is true of the machine on which the work runs, whichever that is."""
    return {name: own[name] for name in OF_THE_MACHINE if name in own}


def worker_environment(
    own: Mapping[str, str], settings: Settings, *, cpu_milli: int, traceparent: str
) -> dict[str, str]:
    """What holds on every machine. `own` is the service's environment. Threads follow the request."""
    passed = {name: own[name] for name in PASSED_ON if name in own}
    if settings.object_store_url.startswith("s3://"):
        passed |= {name: value for name, value in own.items() if name.startswith(OBJECT_STORE_LOGIN)}
    return passed | {
        "GYRE_HOME": str(settings.resolved_home),
        "GYRE_PORT_OFFSET": str(settings.port_offset),
        "GYRE_OBJECT_STORE": settings.object_store_url,
        "PYTHONUNBUFFERED": "1",
        "TRACEPARENT": traceparent,
        "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin while they wait slow everything else on a small machine
        **dict.fromkeys(THREADS, str(max(1, math.ceil(cpu_milli / 1000)))),
    }


def visible(member: Member) -> dict[str, str]:
    """Its own cards and no others, in the words of each maker."""
    return visible_devices(member.cards)


def of_rank(rank: int, size: int, master: str, port: int) -> dict[str, str]:
    """What torchrun and torch.distributed read (https://docs.pytorch.org/docs/stable/elastic/run.html#environment-variables).

    One process a member, so a rank is the rank of a node. Work alone gets none of it: some libraries take its mere
    presence for a gang.
    """
    if size == 1:
        return {}
    return {
        "MASTER_ADDR": master, "MASTER_PORT": str(port), "WORLD_SIZE": str(size), "RANK": str(rank),
        "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "GROUP_RANK": str(rank), "GROUP_WORLD_SIZE": str(size),
        "NODE_RANK": str(rank), "NNODES": str(size),
    }  # fmt: skip
