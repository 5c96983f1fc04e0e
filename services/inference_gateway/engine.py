"""Main of a replica: `python -m services.inference_gateway.engine SPEC` serves one GGUF by llama.cpp (xllamacpp): a chat
model, or one that makes embeddings, as its own header says.

SPEC is a JSON file; see `Spec`. The launcher adds `host`, `port` and `object_store`. Ready means that it gave a real
answer, which is when `ready.json` appears beside SPEC. SIGTERM drains: the gateway sends nothing new to a replica that
is stopped, so the process waits for the answers that run, and ends with 0.

Exits: 0 stopped; 64 bad spec or model (trying again is no use); 70 it loaded and does not answer.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from gyre_kit.gguf import read_header
from gyre_kit.storage import ObjectStore, digest_of_file, key_of
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

EXIT_BAD_SPEC = 64
EXIT_NO_ANSWER = 70
ANSWER_SECONDS = 60.0
POLL_SECONDS = 0.1


class Adapter(BaseModel):
    """A LoRA adapter in GGUF. Its place in the list is its number; a request names the numbers that count for it."""

    model_config = ConfigDict(extra="forbid")

    path: Path | None = Field(None, description="GGUF on this machine; or else uri.")
    uri: str = Field("", description="gyre:// URI of it in the object store.")
    digest: str = Field("", description="sha256:… of the GGUF; checked if given.")

    @model_validator(mode="after")
    def _one_place(self) -> Adapter:
        if (self.path is None) == (not self.uri):
            raise ValueError("give either path or uri of an adapter")
        return self


class Spec(BaseModel):
    """What to serve. Fields that a launcher adds for other kinds of work are passed over."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())

    model_path: Path | None = Field(None, description="GGUF on this machine; or else model_uri.")
    model_uri: str = Field("", description="gyre:// URI of a GGUF in the object store.")
    model_digest: str = Field("", description="sha256:… of the GGUF; checked if given.")
    model_name: str = Field("", description="What the engine calls the model; the file's name if empty.")
    object_store: str = Field("", description="URL of the object store, for model_uri.")
    host: str = "127.0.0.1"
    port: int = Field(ge=1, le=65535)
    parallel: int = Field(4, ge=1, le=256, description="Requests computed at once.")
    context_size: int = Field(2048, ge=64, description="Tokens of one request and its answer.")
    threads: int = Field(1, ge=1, le=256, description="More than there are free cores slow llama.cpp down greatly.")
    adapters: list[Adapter] = Field(default_factory=list)
    drain_seconds: float = Field(25.0, ge=0, description="What running answers get after SIGTERM.")

    @model_validator(mode="after")
    def _one_model(self) -> Spec:
        if (self.model_path is None) == (not self.model_uri):
            raise ValueError("give either model_path or model_uri")
        if not self.object_store and (self.model_uri or any(each.uri for each in self.adapters)):
            raise ValueError("model_uri needs object_store, and so does an adapter's uri")
        return self


def main(spec_file: Path) -> int:
    """1 read the spec, 2 find the weights, 3 load, 4 prove it, 5 serve until told, 6 drain."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        spec = Spec.model_validate_json(spec_file.read_bytes())
        model = _local(spec.model_path, spec.model_uri, spec.model_digest, spec, spec_file.parent)
        adapters = [_local(each.path, each.uri, each.digest, spec, spec_file.parent) for each in spec.adapters]
        embeds = read_header(model).makes_embeddings
    except (OSError, ValidationError, ValueError) as error:
        return fail(EXIT_BAD_SPEC, f"the spec cannot be used: {error}")
    try:
        server = _serve(spec, model, adapters, embeds)
    except RuntimeError as error:
        return fail(EXIT_BAD_SPEC, f"llama.cpp cannot load {model.name}: {error}")
    base = f"http://{spec.host}:{spec.port}"
    if not answers(base, embeds):
        return fail(EXIT_NO_ANSWER, f"{model.name} was loaded and does not answer")
    write_ready(spec_file.parent / "ready.json", base, model.name)
    stop.wait()
    _drain(base, spec.drain_seconds)
    del server
    return 0


def _local(path: Path | None, uri: str, digest: str, spec: Spec, folder: Path) -> Path:
    """A local path of a GGUF. Raises: OSError, ValueError."""
    if path is None:
        store = ObjectStore.from_url(spec.object_store)
        path = asyncio.run(store.fetch(key_of(uri), folder))
    if digest and (found := digest_of_file(path)) != digest:
        raise ValueError(f"{path.name} has digest {found}, not {digest}")
    return path


def _serve(spec: Spec, model: Path, adapters: list[Path], embeds: bool) -> Any:
    """Loads the weights and listens; the server runs in threads of its own. Raises: RuntimeError."""
    from xllamacpp import CommonAdapterLoraInfo, CommonParams, Server

    params = CommonParams()
    params.model.path = str(model)
    params.model_alias = {spec.model_name or model.stem}
    params.hostnames = [spec.host]
    params.port = spec.port
    params.n_parallel = spec.parallel
    params.n_ctx = spec.context_size * spec.parallel
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = spec.threads
    params.endpoint_metrics = params.endpoint_slots = True
    params.ui = False
    if embeds:  # a text is computed in one go, so the batch must hold it
        params.embedding = True
        params.n_batch = params.n_ubatch = spec.context_size
    params.lora_adapters = [_loaded(CommonAdapterLoraInfo(), path) for path in adapters]
    return Server(params)


def _loaded(adapter: Any, path: Path) -> Any:
    """Loaded, and without effect on a request that does not ask for it."""
    adapter.path, adapter.scale = str(path), 0.0
    return adapter


def answers(base: str, embeds: bool, model: str = "") -> bool:
    """One vector, or one token, asked as a client would; by `model` where the engine has names for it."""
    question = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1, "temperature": 0}
    try:
        if embeds:
            return bool(_json(f"{base}/v1/embeddings", {"input": "Hi"}, ANSWER_SECONDS)["data"])
        return bool(_json(f"{base}/v1/chat/completions", question, ANSWER_SECONDS)["choices"])
    except (OSError, ValueError, KeyError):
        return False


def _drain(base: str, seconds: float) -> None:
    """Returns when no slot computes any more, or after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if not any(slot["is_processing"] for slot in _json(f"{base}/slots", None, 5)):
                return
        except (OSError, ValueError, KeyError):
            return
        time.sleep(POLL_SECONDS)


def _json(url: str, body: dict[str, Any] | None, seconds: float) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=seconds) as reply:
        return json.load(reply)


def write_ready(path: Path, base: str, model: str) -> None:
    """Says where it answers, in one step."""
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps({"base_url": f"{base}/v1", "model": model, "pid": os.getpid()}))
    os.replace(temporary, path)


def fail(code: int, message: str) -> int:
    """Says it, and returns `code`."""
    print(message, file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    status = main(Path(sys.argv[1]))
    sys.stderr.flush()
    os._exit(status)  # llama.cpp's threads are not joined: what they would still say, nobody waits for
