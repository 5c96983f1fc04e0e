"""Weights sent from this machine, in parts; what arrived stays, and a later try goes on from there."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gyre.model_registry.v1.upload_pb2 import ModelUpload, ModelUploadFile, ModelUploadPart
from gyre.model_registry.v1.upload_service_pb2 import CreateModelUploadRequest

from gyre_sdk import messages, names
from gyre_sdk.collection import Collection, Page, request_id
from gyre_sdk.errors import GyreError

SENT = (".json", ".safetensors", ".model", ".txt", ".jinja", ".md", ".gguf")
PART_SECONDS = 120.0
TRIES = 5

Progress = Callable[[str, int, int], None]  # file name, its bytes that are there, its bytes in all


class ModelUploads(Collection[ModelUpload]):
    kind, plural = ModelUpload, "modelUploads"

    def page(self, page_token: str = "", page_size: int = 50, **query: Any) -> Page[ModelUpload]:
        return self._page(ModelUpload, f"{self.parent}/{self.plural}", "model_uploads", page_token, page_size, **query)

    def list(self, **query: Any) -> Iterator[ModelUpload]:
        return self._all(ModelUpload, f"{self.parent}/{self.plural}", "model_uploads", **query)

    def create(self, files: Sequence[Path], display_name: str = "") -> ModelUpload:
        """Says what will come. Raises: GyreError for files that make no model, or may run code."""
        sizes = [ModelUploadFile(path=file.name, size_bytes=file.stat().st_size) for file in files]
        request = CreateModelUploadRequest(display_name=display_name, files=sizes, request_id=request_id())
        return self._post(ModelUpload, f"{self.parent}/{self.plural}", request)

    def delete(self, name: str) -> None:
        """Drops what was sent."""
        self._delete(self.name(name))

    def send(self, path: str | Path, display_name: str = "", on_progress: Progress | None = None) -> ModelUpload:
        """Sends a file or the model files of a folder, and returns the upload with everything there.

        An open upload of the same files is gone on with: parts that are there and the same are not sent again.
        """
        files = model_files(Path(path))
        upload = self.unfinished(files) or self.create(files, display_name)
        for file in files:
            self._send_file(upload, file, on_progress or (lambda name, sent, total: None))
        return self.get(upload.name)

    def unfinished(self, files: Sequence[Path]) -> ModelUpload | None:
        """The newest open upload of files with these names and sizes."""
        wanted = {(file.name, file.stat().st_size) for file in files}
        for upload in self.list(filter="state=OPEN"):
            if {(file.path, file.size_bytes) for file in upload.files} == wanted:
                return self.get(upload.name)
        return None

    def _send_file(self, upload: ModelUpload, file: Path, show: Progress) -> None:
        stored = {part.number: part.digest for entry in upload.files if entry.path == file.name for part in entry.parts}
        sent, total = 0, file.stat().st_size
        with file.open("rb") as opened:
            for number, content in enumerate(iter(lambda: opened.read(upload.part_size_bytes), b"")):
                digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
                if stored.get(number) != digest:
                    self._send_part(upload.name, file.name, number, content, digest)
                sent += len(content)
                show(file.name, sent, total)

    def _send_part(self, name: str, path: str, number: int, content: bytes, digest: str) -> ModelUploadPart:
        """A part replaces itself, so a lost answer costs nothing but sending it once more."""
        query = {"path": path, "number": number, "digest": digest}
        for attempt in range(TRIES):
            try:
                reply = self._transport.call(
                    "PUT", f"{names.path(name)}/parts", query=query, content=content, timeout=PART_SECONDS
                )
                return messages.parse(ModelUploadPart, reply)
            except GyreError as error:
                if attempt + 1 == TRIES or (0 < error.status < 500 and error.status != 429):
                    raise
                time.sleep(2.0**attempt)
        raise AssertionError("unreachable: the last attempt returns or raises")


def model_files(path: Path) -> list[Path]:
    """The file itself, or the files of a folder that a model is made of. Raises: GyreError where there are none."""
    if path.is_file():
        return [path]
    found = sorted(file for file in path.iterdir() if file.is_file() and is_sent(file)) if path.is_dir() else []
    if not found:
        remedy = "Give a *.gguf file, or a folder with config.json, tokenizer and *.safetensors."
        raise GyreError(400, "NO_MODEL_FILES", f"{path} has no files of a model.", remedy)
    return found


def is_sent(file: Path) -> bool:
    """Of a folder's files: neither hidden ones nor what no import takes, such as *.bin."""
    return not file.name.startswith(".") and (file.suffix in SENT or file.name.startswith("LICENSE"))
