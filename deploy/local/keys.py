"""Secrets of the services, made at the first `gyre up`: a signing key and a database password each."""

from __future__ import annotations

import secrets
from pathlib import Path

from gyre_kit import addresses


def ensure_signing_keys(folder: Path) -> None:
    """`<service>.key` and `<service>.pub` (Ed25519, mode 0600), before the first service asks for another's."""
    for component in addresses.COMPONENTS:
        if not ((folder / f"{component}.key").exists() and (folder / f"{component}.pub").exists()):
            from gyre_kit.auth import Signer  # the supervisor needs the cryptography in memory only this once

            Signer(component, folder)


def ensure_password(folder: Path, component: str) -> str:
    """The password of a service's database role, from `<service>.password` (mode 0600)."""
    path = folder / f"{component}.password"
    if not path.exists():
        from gyre_kit.auth import write_private

        write_private(path, secrets.token_urlsafe(24).encode())
    return path.read_text().strip()
