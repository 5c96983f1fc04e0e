"""Models from Hugging Face (`hf://owner/name[@revision]`) and ModelScope (`ms://owner/name[@revision]`).

Only configuration, tokenizer and safetensors are fetched: a pickle or a Python file never reaches this machine.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from gyre_trainers.exits import BadInput

WANTED: Final = (
    "config.json",
    "generation_config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "tokenizer*",
    "vocab.*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template*",
    "LICENSE*",
    "README.md",  # its front matter names the licence
    "adapter_config.json",  # tells that it is no model
)
ADAPTER: Final = ("adapter_config.json", "adapter_model.safetensors", "LICENSE*", "README.md")
HUGGING_FACE: Final = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
MODELSCOPE: Final = "https://www.modelscope.cn"
SECONDS: Final = 60
CHUNK: Final = 1024 * 1024


def download(uri: str, folder: Path, files: Sequence[str] = WANTED) -> Path:
    """Fetches the model named by `uri` into `folder`; `files` are patterns of names.

    Raises: BadInput if there is none or it cannot be reached.
    """
    scheme, rest = uri.split("://", 1)
    model, _, revision = rest.partition("@")
    if model.count("/") != 1:
        raise BadInput("base.uri", f"{uri} is not {scheme}://owner/name", "name a model as its page does")
    fetch = {"hf": from_hugging_face, "ms": from_modelscope}[scheme]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        fetch(model, revision, folder, files)
    except OSError as error:  # urllib's, requests' and httpx's errors among them, and the hub's own
        raise BadInput("base.uri", f"{uri} cannot be fetched ({error})", "check name, revision and network") from error
    return folder


def from_hugging_face(model: str, revision: str, folder: Path, files: Sequence[str] = WANTED) -> None:
    """HF_ENDPOINT names a mirror, HF_TOKEN opens gated models."""
    import httpx
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(
            model,
            revision=revision or None,
            local_dir=folder,
            allow_patterns=list(files),
            endpoint=HUGGING_FACE,
        )
    except httpx.HTTPError as error:
        raise OSError(str(error)) from error


def from_modelscope(model: str, revision: str, folder: Path, files: Sequence[str] = WANTED) -> None:
    """By ModelScope's HTTP API, so that its large client is not needed. GYRE_MODELSCOPE_ENDPOINT names a mirror."""
    root = f"{os.environ.get('GYRE_MODELSCOPE_ENDPOINT', MODELSCOPE)}/api/v1/models/{model}/repo"
    revision = revision or "master"
    listing = _get_json(f"{root}/files?{urllib.parse.urlencode({'Revision': revision, 'Recursive': 'true'})}")
    if listing.get("Code") != 200:
        raise OSError(str(listing.get("Message") or "no such model"))
    for entry in listing["Data"]["Files"]:
        path = str(entry["Path"])
        if entry.get("Type") == "tree" or not wanted(path, files):
            continue
        query = urllib.parse.urlencode({"Revision": revision, "FilePath": path})
        _get_file(f"{root}?{query}", folder / path, str(entry.get("Sha256") or ""))


def wanted(path: str, files: Sequence[str] = WANTED) -> bool:
    """Top-level files of the kinds above; never a path that leads elsewhere."""
    return "/" not in path and "\\" not in path and any(fnmatch.fnmatch(path, pattern) for pattern in files)


def _get_json(url: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as reply:
            content = json.loads(reply.read())
    except urllib.error.HTTPError as error:
        raise OSError(f"HTTP {error.code}") from error
    except ValueError as error:
        raise OSError("the reply is not JSON") from error
    return content if isinstance(content, dict) else {}


def _get_file(url: str, target: Path, digest: str) -> None:
    partial = target.with_name(f".{target.name}.partial")
    seen = hashlib.sha256()
    with urllib.request.urlopen(url, timeout=SECONDS) as reply, partial.open("wb") as file:
        while chunk := reply.read(CHUNK):
            seen.update(chunk)
            file.write(chunk)
    if digest and seen.hexdigest() != digest:
        partial.unlink()
        raise OSError(f"{target.name} arrived damaged")
    os.replace(partial, target)
