"""The object store: a folder or S3, by one interface. Keys are checked, writes are whole or not at all.

URIs inside Gyre are `gyre://<key>`: they name an object of the configured store, wherever that is.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import obstore
from obstore.store import LocalStore, from_url

from gyre_kit.errors import Invalid

SCHEME = "gyre://"
CHUNK = 8 * 1024 * 1024


class BadKey(Invalid):
    """A key names an object inside the store: no empty part, no `.` or `..`, no backslash, no NUL."""


class ObjectStore:
    """All methods take keys such as `dataset/acme/hotline/1/train.parquet`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._root: Path | None = None
        if url.startswith("file://"):
            self._root = Path(url.removeprefix("file://"))
            self._root.mkdir(parents=True, exist_ok=True)
            self._store: Any = LocalStore(self._root, mkdir=True)
        else:
            self._store = from_url(url)

    @classmethod
    def from_url(cls, url: str) -> ObjectStore:
        return cls(url)

    async def put(self, key: str, content: bytes) -> str:
        """Stores `content` and returns its URI."""
        await obstore.put_async(self._store, checked(key), content)
        return uri_of(key)

    async def put_file(self, key: str, path: Path) -> str:
        await obstore.put_async(self._store, checked(key), path)
        return uri_of(key)

    async def put_folder(self, prefix: str, folder: Path, last: str = "") -> list[str]:
        """Stores every file below `folder`; `last` (a manifest) only when all others are there."""
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        files.sort(key=lambda path: path.name == last)
        return [await self.put_file(f"{prefix}/{path.relative_to(folder)}", path) for path in files]

    async def get(self, key: str) -> bytes:
        """Raises: FileNotFoundError."""
        return bytes(await (await obstore.get_async(self._store, checked(key))).bytes_async())

    async def exists(self, key: str) -> bool:
        try:
            await obstore.head_async(self._store, checked(key))
        except FileNotFoundError:
            return False
        return True

    async def size(self, key: str) -> int:
        """In bytes. Raises: FileNotFoundError."""
        return int((await obstore.head_async(self._store, checked(key)))["size"])

    async def list(self, prefix: str) -> list[str]:
        """The keys below `prefix`, sorted."""
        found = await obstore.list(self._store, checked(prefix)).collect_async()
        return sorted(item["path"] for item in found)

    async def chunks(self, key: str, offset: int = 0, length: int = 0) -> AsyncIterator[bytes]:
        """All of it, or `length` bytes from `offset` on. Raises: FileNotFoundError."""
        options: Any = {"range": (offset, offset + length)} if length else None
        result = await obstore.get_async(self._store, checked(key), options=options)
        async for chunk in result.stream(min_chunk_size=CHUNK):
            yield bytes(chunk)

    async def put_stream(self, key: str, parts: AsyncIterator[bytes]) -> tuple[int, str]:
        """Stores a stream without holding it; returns its size in bytes and its digest."""
        digest, size = hashlib.sha256(), 0
        async with obstore.open_writer_async(self._store, checked(key), buffer_size=CHUNK) as writer:
            async for part in parts:
                digest.update(part)
                size += len(part)
                await writer.write(part)
        return size, f"sha256:{digest.hexdigest()}"

    async def copy(self, key: str, to: str) -> None:
        """Within the store, which need not send it through here. Raises: FileNotFoundError."""
        await obstore.copy_async(self._store, checked(key), checked(to))

    async def delete(self, keys: Iterable[str]) -> None:
        await obstore.delete_async(self._store, [checked(key) for key in keys])

    def local_path(self, key: str) -> Path | None:
        """Where the object lies on this machine, or None where the store is not a folder."""
        return self._root / checked(key) if self._root else None

    async def fetch(self, key: str, scratch: Path) -> Path:
        """A local path of one object: its own where the store is a folder, else a copy below `scratch`."""
        if (path := self.local_path(key)) is not None:
            if not path.is_file():
                raise FileNotFoundError(key)
            return path
        target = scratch / key
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            async for chunk in self.chunks(key):
                file.write(chunk)
        return target

    async def fetch_folder(self, prefix: str, scratch: Path) -> Path:
        """A local folder with everything below `prefix`."""
        if (path := self.local_path(prefix)) is not None:
            return path
        for key in await self.list(prefix):
            await self.fetch(key, scratch)
        return scratch / prefix


def checked(key: str) -> str:
    """Raises: BadKey."""
    bad_part = any(part in ("", ".", "..") for part in key.split("/"))
    if bad_part or "\\" in key or "\0" in key:
        raise BadKey(given=key[:120])
    return key


def uri_of(key: str) -> str:
    return SCHEME + checked(key)


def key_of(uri: str) -> str:
    """Raises: BadKey where `uri` is no `gyre://` URI."""
    if not uri.startswith(SCHEME):
        raise BadKey(given=uri[:120])
    return checked(uri.removeprefix(SCHEME).rstrip("/"))


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def digest_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
