"""Who calls, for which project, and with which rights.

Service to service: a five-minute Ed25519 token that names the caller, the project and the rights. api_gateway signs
with the rights of the person that it speaks for, never with more. A worker's token names its workload and attempt,
and is worth nothing for any other call than those of `Role.WORKER`.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gyre_kit.errors import Unauthenticated

TOKEN_SECONDS = 300
ALL_PROJECTS = "*"


class Role(IntEnum):
    """Rights, each including those below it. WORKER is apart: a launched process that reports on itself."""

    WORKER = 0
    VIEWER = 1
    REVIEWER = 2
    ENGINEER = 3
    ADMIN = 4


@dataclass(frozen=True)
class Identity:
    """`subject` did it (a person's key, a service, a workload); `service` made the call."""

    subject: str
    project: str
    role: Role
    service: str = ""
    workload: str = ""
    attempt: int = 0

    def may_see(self, project: str) -> bool:
        return self.project in (project, ALL_PROJECTS)


SYSTEM = Identity(subject="system", project=ALL_PROJECTS, role=Role.ADMIN)
_identity: ContextVar[Identity] = ContextVar("identity", default=SYSTEM)


def caller() -> Identity:
    """The identity on whose behalf this task runs; `SYSTEM` in reconcilers and event handlers."""
    return _identity.get()


@contextmanager
def acting_as(identity: Identity) -> Iterator[None]:
    token = _identity.set(identity)
    try:
        yield
    finally:
        _identity.reset(token)


@contextmanager
def within_project(project: str) -> Iterator[None]:
    """Narrows the current identity to one project: what a reconciler does before it calls others for a row."""
    with acting_as(replace(caller(), project=project)):
        yield


class Signer:
    """Signs tokens as one service. The key is made at first use, 0600, and never leaves its folder."""

    def __init__(self, component: str, folder: Path) -> None:
        self.component = component
        self._key = _load_or_create(folder, component)
        self._cache: dict[Identity, tuple[float, str]] = {}

    def token(self, identity: Identity, seconds: int = TOKEN_SECONDS) -> str:
        """A token for `identity`, reused until a minute before it expires."""
        expires, token = self._cache.get(identity, (0.0, ""))
        if expires - time.time() < min(60, seconds / 2):
            expires, token = time.time() + seconds, self._sign(identity, seconds)
            if len(self._cache) > 1000:
                self._cache.clear()
            self._cache[identity] = (expires, token)
        return token

    def _sign(self, identity: Identity, seconds: int) -> str:
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": self.component,
            "sub": identity.subject,
            "project": identity.project,
            "role": identity.role.name,
            "iat": now,
            "exp": now + seconds,
        }
        if identity.workload:
            claims |= {"workload": identity.workload, "attempt": identity.attempt}
        return jwt.encode(claims, self._key, algorithm="EdDSA")


class Verifier:
    """Checks tokens against the public keys of the services, read from their folder when first seen."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._keys: dict[str, str] = {}

    def identity(self, token: str) -> Identity:
        """Raises: Unauthenticated, without a word on which part did not fit."""
        try:
            issuer = str(jwt.decode(token, options={"verify_signature": False})["iss"])
            claims = jwt.decode(token, self._key_of(issuer), algorithms=["EdDSA"], issuer=issuer, leeway=5)
            return Identity(
                subject=claims["sub"],
                project=claims["project"],
                role=Role[claims["role"]],
                service=issuer,
                workload=claims.get("workload", ""),
                attempt=int(claims.get("attempt", 0)),
            )
        except (jwt.InvalidTokenError, KeyError, OSError, ValueError) as error:
            raise Unauthenticated("The call carries no valid token; sign in again.") from error

    def _key_of(self, issuer: str) -> str:
        if issuer not in self._keys:
            if not issuer.replace("_", "").isalpha():
                raise KeyError(issuer)
            self._keys[issuer] = (self._folder / f"{issuer}.pub").read_text()
        return self._keys[issuer]


def _load_or_create(folder: Path, component: str) -> Ed25519PrivateKey:
    path = folder / f"{component}.key"
    if not path.exists():
        _create(folder, component)
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise TypeError(f"{path} is not an Ed25519 key; delete it and start again")
    return key


def _create(folder: Path, component: str) -> None:
    """The public half is in place before the private one, so that whoever holds a key can be checked."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_private(folder / f"{component}.pub", public)
    write_private(folder / f"{component}.key", private)


def write_private(path: Path, content: bytes) -> None:
    """Writes `path` whole or not at all, readable by its owner alone."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
