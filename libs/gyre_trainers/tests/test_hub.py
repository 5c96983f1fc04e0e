"""`hf://` and `ms://`, against a hub of our own that speaks both protocols over HTTP."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import huggingface_hub.constants
import pytest
from gyre_kit.storage import ObjectStore
from gyre_trainers import base, hub, testing
from gyre_trainers.exits import BadInput
from gyre_trainers.spec import Artifact

COMMIT = 40 * "a"


class Hub(BaseHTTPRequestHandler):
    """Serves the files of `folder` as model `acme/tiny`, with a pickle among them."""

    folder: Path

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        if url.path == "/api/v1/models/acme/tiny/repo/files":
            self.send_json({"Code": 200, "Data": {"Files": [self.listed(path) for path in self.folder.iterdir()]}})
        elif url.path == "/api/v1/models/acme/tiny/repo":
            self.send_file(query["FilePath"])
        elif url.path.startswith("/api/models/acme/tiny/tree/"):
            self.send_json([self.in_tree(path) for path in self.folder.iterdir()])
        elif url.path.startswith("/api/models/acme/tiny"):
            names = [{"rfilename": path.name} for path in self.folder.iterdir()]
            self.send_json({"id": "acme/tiny", "sha": COMMIT, "siblings": names})
        elif url.path.startswith("/acme/tiny/resolve/"):
            self.send_file(url.path.rpartition("/")[2])
        else:
            self.send_error(404)

    def listed(self, path: Path) -> dict[str, Any]:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return {"Name": path.name, "Path": path.name, "Type": "blob", "Size": path.stat().st_size, "Sha256": digest}

    def in_tree(self, path: Path) -> dict[str, Any]:
        digest = hashlib.sha1(path.read_bytes()).hexdigest()
        return {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": digest}

    def send_json(self, content: Any) -> None:
        self.send(json.dumps(content).encode(), "application/json")

    def send_file(self, name: str) -> None:
        path = self.folder / name
        if path.is_file():
            self.send(path.read_bytes(), "application/octet-stream")
        else:
            self.send_error(404)

    def send(self, content: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self.send_header("etag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("x-repo-commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = testing.tiny_llama(tmp_path / "published", ["a bus", "a crew"] * 20, vocabulary=300)
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "modeling_tiny.py").write_text("raise SystemExit")
    return folder


@pytest.fixture
def endpoint(model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("TinyHub", (Hub,), {"folder": model}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("GYRE_MODELSCOPE_ENDPOINT", url)
    monkeypatch.setattr(hub, "HUGGING_FACE", url)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)  # `make test` sets it; this hub is local
    yield url
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("uri", ["hf://acme/tiny", "ms://acme/tiny", "ms://acme/tiny@master"])
async def test_a_model_is_fetched_without_pickles_and_code(
    uri: str, endpoint: str, model: Path, tmp_path: Path
) -> None:
    store = ObjectStore.from_url(f"file://{tmp_path}/objects")

    found = await base.obtain(store, Artifact(uri=uri), tmp_path / "fetched")

    names = {path.name for path in found.iterdir() if path.is_file()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert not names & {"pytorch_model.bin", "modeling_tiny.py"}
    assert (found / "model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()


@pytest.mark.parametrize("uri", ["hf://acme/tiny", "ms://acme/tiny"])
def test_of_an_adapter_only_its_own_files_are_fetched(uri: str, endpoint: str, model: Path, tmp_path: Path) -> None:
    for name in ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"):
        (model / name).write_bytes(name.encode())
    fetched = hub.download(uri, tmp_path / "fetched", hub.ADAPTER)
    names = {path.name for path in fetched.iterdir() if path.is_file()}
    assert names == {"adapter_config.json", "adapter_model.safetensors"}


@pytest.mark.peers
def test_modelscopes_own_client_finds_the_hub_of_these_tests_as_it_expects(
    endpoint: str, model: Path, tmp_path: Path
) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    subprocess.run([tmp_path / "venv/bin/pip", "install", "-q", "modelscope"], check=True, timeout=500)
    script = (
        "import sys, modelscope; modelscope.snapshot_download('acme/tiny', local_dir=sys.argv[1], endpoint=sys.argv[2])"
    )
    fetched = tmp_path / "fetched"
    command = [tmp_path / "venv/bin/python", "-c", script, fetched, endpoint]
    subprocess.run(command, check=True, timeout=120, env={"MODELSCOPE_CACHE": str(tmp_path / "cache")})
    assert (fetched / "model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()


@pytest.mark.parametrize("uri", ["hf://acme/gone", "ms://acme/gone"])
def test_a_model_that_is_not_there_is_refused_by_name(uri: str, endpoint: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=f"base.uri: {uri} cannot be fetched"):
        hub.download(uri, tmp_path / "fetched")


def test_a_uri_without_an_owner_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is not hf://owner/name"):
        hub.download("hf://tiny", tmp_path)


@pytest.mark.parametrize("path", ["../model.safetensors", "sub/model.safetensors", "model.bin", "a.py"])
def test_only_weights_and_their_description_are_wanted(path: str) -> None:
    assert not hub.wanted(path)
