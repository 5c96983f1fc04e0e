"""What a launched process finds in its environment: a chosen few variables, and no secret of a service."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from services.gpu_scheduler.cards import visible_devices
from services.gpu_scheduler.processes import MARK
from services.gpu_scheduler.settings import Settings

PASSED_ON = (
    "PATH", "HOME", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "HF_HOME", "HF_ENDPOINT", "HF_HUB_OFFLINE", "MALLOC_ARENA_MAX",
    "GYRE_PORT_OFFSET", "GYRE_BIND", "GYRE_PEER_HOST", "GYRE_OTLP_ENDPOINT", "GYRE_LOG_LEVEL",
    "GYRE_MODELSCOPE_ENDPOINT", "GYRE_RUNTIME_HOME",
)  # fmt: skip
OBJECT_STORE_LOGIN = "AWS_"  # a worker reads and writes the object store by itself; with S3 it needs the keys
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def worker_environment(
    own: Mapping[str, str], settings: Settings, *, folder: str, cpu_milli: int, cards: Sequence[str], traceparent: str
) -> dict[str, str]:
    """`own` is the service's environment. Threads follow the request; only its own `cards` are visible."""
    passed = {name: own[name] for name in PASSED_ON if name in own}
    if settings.object_store_url.startswith("s3://"):
        passed |= {name: value for name, value in own.items() if name.startswith(OBJECT_STORE_LOGIN)}
    return passed | {
        "GYRE_HOME": str(settings.resolved_home),
        "GYRE_PORT_OFFSET": str(settings.port_offset),
        "GYRE_OBJECT_STORE": settings.object_store_url,
        **visible_devices(cards),
        "PYTHONUNBUFFERED": "1",
        "TRACEPARENT": traceparent,
        MARK: folder,
        "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin while they wait slow everything else on a small machine
        **dict.fromkeys(THREADS, str(max(1, math.ceil(cpu_milli / 1000)))),
    }
