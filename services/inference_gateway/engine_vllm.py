"""Main of a replica: `python -m services.inference_gateway.engine_vllm SPEC` serves safetensors by vLLM.

vLLM has an environment of its own (its torch is another one than ours): SPEC names that environment's Python, and
`vllm serve` runs as a child, in a session of its own, so that a signal to stop comes to us alone and running answers
end. Ready means that it gave a real answer; what it prints is in the replica's log. LoRA adapters can be loaded while
it serves.

Exits: 0 stopped; 64 bad spec or model (trying again is no use); 70 it came up and does not answer, or it ended.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

from gyre_kit.storage import ObjectStore
from gyre_trainers import base
from gyre_trainers.exits import BadInput
from gyre_trainers.spec import Artifact
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.inference_gateway.complaints import Complaint
from services.inference_gateway.engine import EXIT_BAD_SPEC, EXIT_NO_ANSWER, answers, fail, write_ready
from services.inference_gateway.engines.base import metric_sum

START_SECONDS = 1200.0  # a large model is read from disk and compiled
STOP_SECONDS = 15.0
POLL_SECONDS = 0.25
KEPT_FROM_CHILD = ("GYRE_", "AWS_", "PYTHON", "VIRTUAL_ENV")  # our settings, our store's keys and our environment
MARK = "GYRE_WORK_FOLDER"  # by which the launcher finds what outlives us, though it is in another session
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "2",  # GiB, where there is no card
    "PYTHONUNBUFFERED": "1",
}
ADAPTERS_AT_ONCE = 4  # that one batch mixes; others wait a step


class Spec(BaseModel):
    """What to serve. Fields that a launcher adds for other kinds of work are passed over."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())

    python: Path = Field(description="Python of the environment that vLLM is installed in.")
    model_uri: str = Field(description="gyre:// URI of the manifest of a folder of safetensors.")
    model_digest: str = Field("", description="sha256:… of the manifest; checked if given.")
    model_name: str = Field(description="What the engine calls the model.")
    object_store: str = Field(description="URL of the object store.")
    host: str = "127.0.0.1"
    port: int = Field(ge=1, le=65535)
    parallel: int = Field(4, ge=1, description="Requests computed at once.")
    context_size: int = Field(2048, ge=64, description="Tokens of one request and its answer.")
    max_adapters: int = Field(8, ge=1, description="LoRA adapters held in memory.")
    drain_seconds: float = Field(25.0, ge=0, description="What running answers get after SIGTERM.")

    def flags(self, folder: Path) -> list[str]:
        """`vllm serve` and what it is told."""
        told = {
            "host": self.host,
            "port": self.port,
            "served-model-name": self.model_name,
            "max-model-len": self.context_size,
            "max-num-seqs": self.parallel,
            "max-loras": min(ADAPTERS_AT_ONCE, self.max_adapters),
            "max-cpu-loras": self.max_adapters,
            "max-lora-rank": 64,
        }
        options = [text for name, value in told.items() for text in (f"--{name}", str(value))]
        return [str(self.python.with_name("vllm")), "serve", str(folder), "--enable-lora", *options]


def main(spec_file: Path) -> int:
    """1 read the spec, 2 find the weights, 3 start it, 4 prove it, 5 serve until told, 6 drain."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        spec = Spec.model_validate_json(spec_file.read_bytes())
        store = ObjectStore.from_url(spec.object_store)
        weights = Artifact(uri=spec.model_uri, digest=spec.model_digest)
        folder = asyncio.run(base.obtain(store, weights, spec_file.parent / "model", "model"))
        child = _start(spec.flags(folder))
    except (OSError, ValidationError, ValueError, BadInput) as error:
        return fail(EXIT_BAD_SPEC, f"the spec cannot be used: {error}")
    try:
        return _serve(child, spec, spec_file.parent, stop)
    finally:
        _end(child)


def _serve(child: subprocess.Popen[bytes], spec: Spec, folder: Path, stop: threading.Event) -> int:
    complaint = Complaint(child)
    root = f"http://{spec.host}:{spec.port}"
    deadline = time.monotonic() + START_SECONDS
    while not _listens(root) and child.poll() is None and time.monotonic() < deadline:
        if stop.wait(POLL_SECONDS):
            return 0
    if child.poll() is not None:
        why = complaint.sentence() or f"it ended with {child.returncode}"
        return fail(EXIT_BAD_SPEC, f"vLLM cannot serve {spec.model_name}: {why}")
    if not answers(root, embeds=False, model=spec.model_name):
        return fail(EXIT_NO_ANSWER, f"{spec.model_name} was loaded and does not answer")
    write_ready(folder / "ready.json", root, spec.model_name)
    while not stop.wait(POLL_SECONDS):
        if child.poll() is not None:
            return fail(EXIT_NO_ANSWER, f"vLLM ended with {child.returncode} while it served")
    _drain(root, spec.drain_seconds)
    return 0


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    """Raises: OSError if there is no such program."""
    inherited = {
        name: value for name, value in os.environ.items() if name == MARK or not name.startswith(KEPT_FROM_CHILD)
    }
    return subprocess.Popen(
        command,
        env=ENVIRONMENT | inherited,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def _listens(root: str) -> bool:
    try:
        with urllib.request.urlopen(f"{root}/health", timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def _drain(root: str, seconds: float) -> None:
    """Returns when it computes nothing any more, or after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{root}/metrics", timeout=5) as reply:
                text = reply.read().decode()
        except OSError:
            return
        if not metric_sum(text, "vllm:num_requests_running") + metric_sum(text, "vllm:num_requests_waiting"):
            return
        time.sleep(POLL_SECONDS)


def _end(child: subprocess.Popen[bytes]) -> None:
    """With its own children, which share its session."""
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
