"""Bodies that are too large for memory: an upload goes to a file as it comes, and the control plane takes it from there.

A spool belongs to one request and is deleted with it, whatever becomes of the request. What a `kill -9` leaves behind
is swept when the control plane starts the workers anew.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from services.inference_gateway.proxy import errors, ulid

BUFFER_BYTES = 1024 * 1024


class SpoolFull(Exception):
    """More came than the limit allows."""


class Spool:
    """One file, 0600. `limit` is in bytes."""

    def __init__(self, path: Path, limit: int, uploads: Uploads) -> None:
        self.path = path
        self.limit = limit
        self.size = 0
        self._uploads = uploads
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(descriptor, "wb", buffering=BUFFER_BYTES)

    def write(self, data: bytes) -> None:
        """Raises: SpoolFull; OSError."""
        self.size += len(data)
        if self.size > self.limit:
            raise SpoolFull
        self._file.write(data)

    def finish(self) -> None:
        """The last byte is here: the file may be read by others. Raises: OSError."""
        self._file.flush()

    def close(self) -> None:
        """Deletes it. Twice is harmless."""
        self._uploads.ended(self)
        self.path.unlink(missing_ok=True)
        with suppress(OSError):  # the disk is full; the file is gone already
            self._file.close()


class Uploads:
    """One worker's uploads: at most `most` at a time."""

    def __init__(self, folder: Path, limit: int, most: int) -> None:
        self._folder = folder
        self._limit = limit
        self._most = most
        self._open: set[Spool] = set()

    def begin(self) -> Spool:
        """Raises: ApiError 503 where enough are on their way, or the disk takes none."""
        if len(self._open) >= self._most:
            raise errors.overloaded("This gateway is receiving as many files as it may.", close=True)
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            spool = Spool(self._folder / ulid.new(), self._limit, self)
        except OSError as error:
            raise errors.overloaded("This gateway cannot write files now.", close=True) from error
        self._open.add(spool)
        return spool

    def ended(self, spool: Spool) -> None:
        self._open.discard(spool)
