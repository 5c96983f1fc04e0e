"""Which target a session began on, known to all workers and kept over their deaths.

A session is what a client says in `x-session-id`. It stays with the target that answered it first, whatever the split
becomes meanwhile, as long as that target is there. So every worker has to know what any of them chose: they share a
folder of append-only files, one for each stretch of time, of fixed records (session, target). To choose, a worker takes
the lock, reads what others wrote, and writes its own choice. What it knows already costs it one look-up in a dict; a
record is written again once in each stretch, and a session that was quiet for all stretches that are kept is forgotten.
A process that is killed lets go of the lock, and what it wrote is in the kernel's hands.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

STRETCHES = 6  # files that are kept
SESSION_BYTES, TARGET_BYTES = 16, 26  # a BLAKE2 digest, a ULID as text
RECORD_BYTES = SESSION_BYTES + TARGET_BYTES

Session = bytes


def session_of(project: str, deployment: str, given: str) -> Session:
    """What a client calls its session, told apart by project and deployment, and unreadable."""
    return hashlib.blake2b(f"{project}\0{deployment}\0{given}".encode(), digest_size=SESSION_BYTES).digest()


def position(session: Session) -> float:
    """Where in [0, 1) a session falls: the same split gives it the same target at every worker."""
    return int.from_bytes(session[:6], "big") / 2**48


class SessionLedger:
    """One a process. `seconds`: how long a quiet session is remembered, at least."""

    def __init__(self, folder: Path, seconds: float, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._stretch_seconds = seconds / (STRETCHES - 1)
        self._clock = clock
        self._known: dict[Session, tuple[str, int]] = {}  # target, and the stretch of the newest record
        self._read: dict[int, int] = {}  # bytes read of each stretch's file
        self._newest, self._file = -1, -1  # the stretch of now, once something was written in it, and its file
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        self._forget(self._now() - STRETCHES)
        self._catch_up()

    def close(self) -> None:
        os.close(self._lock)
        if self._file >= 0:
            os.close(self._file)

    def __len__(self) -> int:
        return len(self._known)

    def target_of(self, session: Session) -> str:
        """The target of a session that this process knows to be fresh; empty if it has to be claimed.

        Another worker, which heard earlier that a target drains, may have moved the session since: where anything was
        written it is read first, lest the session goes back.
        """
        now = self._now()
        if self._known.get(session, ("", -1))[1] != now:
            return ""
        if os.fstat(self._file_of(now)).st_size != self._read.get(now):
            self._read_on(now)
        return self._known[session][0]

    def claim(self, session: Session, choose: Callable[[str], str]) -> str:
        """The target of `session`. `choose` gets the one that it has had ("" for none), and says which it has now.

        Raises: OSError if the ledger cannot be written; nothing is half written then.
        """
        with self._locked():
            self._catch_up()
            before, _ = self._known.get(session, ("", -1))
            target = choose(before)
            if target:
                self._append(session, target)
        return target

    def active(self, target: str) -> int:
        """Sessions that `target` has, of all workers: those that were not quiet for long."""
        self._catch_up()
        return sum(1 for owner, _ in self._known.values() if owner == target)

    # -- below -------------------------------------------------------------------------------------------------------

    def _now(self) -> int:
        return int(self._clock() // self._stretch_seconds)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _append(self, session: Session, target: str) -> None:
        now = self._now()
        record = session + target.encode().ljust(TARGET_BYTES)
        file = self._file_of(now)
        size = os.fstat(file).st_size
        if os.write(file, record) != RECORD_BYTES:  # the disk is full
            os.ftruncate(file, size)
            raise OSError("the ledger of sessions cannot be written to its end")
        self._known[session] = (target, now)

    def _file_of(self, now: int) -> int:
        """Open as long as its stretch lasts."""
        if self._newest != now:
            file = os.open(self._path(now), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            if self._file >= 0:
                os.close(self._file)
            self._newest, self._file = now, file
        return self._file

    def _catch_up(self) -> None:
        """Reads what was written since, by whomever; forgets what is too old."""
        now = self._now()
        for stretch in range(now - STRETCHES + 1, now + 1):
            self._read_on(stretch)
        if any(stretch <= now - STRETCHES for stretch in self._read):
            self._forget(now - STRETCHES)

    def _read_on(self, stretch: int) -> None:
        try:
            with self._path(stretch).open("rb") as file:
                file.seek(self._read.get(stretch, 0))
                data = file.read()
        except FileNotFoundError:
            return
        whole = len(data) - len(data) % RECORD_BYTES
        for at in range(0, whole, RECORD_BYTES):
            target = data[at + SESSION_BYTES : at + RECORD_BYTES].decode().rstrip()
            self._known[data[at : at + SESSION_BYTES]] = (target, stretch)
        self._read[stretch] = self._read.get(stretch, 0) + whole

    def _forget(self, newest: int) -> None:
        self._known = {session: value for session, value in self._known.items() if value[1] > newest}
        self._read = {stretch: size for stretch, size in self._read.items() if stretch > newest}
        for path in self._folder.glob("*.sessions"):
            if int(path.stem) <= newest:
                path.unlink(missing_ok=True)

    def _path(self, stretch: int) -> Path:
        return self._folder / f"{stretch}.sessions"
