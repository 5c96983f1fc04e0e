"""The operating-system account that PostgreSQL runs as: our own, or, where we are root, one that it accepts."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT_RUNS_AS = "pgserver"  # the name that the PostgreSQL wheel uses too


@dataclass(frozen=True)
class Account:
    name: str
    uid: int
    gid: int

    @property
    def is_ours(self) -> bool:
        return self.uid == os.geteuid()

    def run_as(self) -> dict[str, Any]:
        """Arguments of subprocess that switch to the account; none where it is our own."""
        return {} if self.is_ours else {"user": self.uid, "group": self.gid, "extra_groups": []}


def server_account() -> Account:
    """Ours; as root a system account without a shell or a home, made at first use.

    Raises: RuntimeError if it cannot be made.
    """
    if os.geteuid() != 0:
        return _account(pwd.getpwuid(os.geteuid()))
    try:
        return _account(pwd.getpwnam(ROOT_RUNS_AS))
    except KeyError:
        _create(ROOT_RUNS_AS)
        return _account(pwd.getpwnam(ROOT_RUNS_AS))


def let_pass(path: Path) -> None:
    """Lets other accounts pass through (not list) the folders above `path`."""
    for parent in path.resolve().parents:
        mode = parent.stat().st_mode
        if not mode & stat.S_IXOTH:
            parent.chmod(mode | stat.S_IXOTH)


def let_read(folder: Path) -> None:
    """Opens program files to other accounts, where they were installed under a strict umask."""
    for path in (folder, *folder.rglob("*")):
        mode = path.stat().st_mode
        wanted = stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0)
        if mode & wanted != wanted:
            path.chmod(mode | wanted)


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _create(name: str) -> None:
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", name]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise RuntimeError(
            f"PostgreSQL does not run as root, and the account {name!r} for it could not be made ({error}). "
            f"Run `{' '.join(command)}`, or run gyre as another user, or set GYRE_DATABASE_URL."
        ) from error
