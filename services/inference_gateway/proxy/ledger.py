"""What keys and projects have spent and hold: one file that all workers of this machine map into their memory.

No worker asks another process: a reservation is a short lock (flock), a look at two records, and a few stores.
- **kill -9 of a worker** cannot leave half a change: changes are written to a redo log first, and whoever locks the
  ledger next finishes one that was begun. The kernel lets go of the lock of a dead process.
- **What a dead worker held** is in the reservations of its seat. A seat is a file that its worker keeps locked; whoever
  finds it unlocked settles what is open: as reserved where an answer had begun, as nothing where none had. So nothing
  is billed twice, nothing that was answered goes unbilled, and no request counts as running for ever.
- **The file outlives** workers, control plane and restarts. A power cut costs at most the last `SYNC_SECONDS`.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

from services.inference_gateway.proxy import allowance
from services.inference_gateway.proxy.allowance import Account, Cost, Limits, Refusal

MAGIC = b"GYRELDG1"
SYNC_SECONDS = 1.0
ACCOUNTS, ACCOUNT_BYTES = 1 << 16, 128
SEATS, RESERVATIONS, RESERVATION_BYTES = 64, 8192, 64
LOG_AT, ACCOUNTS_AT = 64, 4096
SEATS_AT = ACCOUNTS_AT + ACCOUNTS * ACCOUNT_BYTES
SEAT_BYTES = RESERVATIONS * RESERVATION_BYTES
SIZE = SEATS_AT + SEATS * SEAT_BYTES  # sparse: what nobody used takes no room on the disk

_ACCOUNT = struct.Struct("<16s10q")
_RESERVATION = struct.Struct("<qiiqq")  # state, two accounts, tokens, picodollars
_LOGGED = struct.Struct("<qq")  # where, how many bytes
_NUMBER = struct.Struct("<q")
NOBODY = bytes(16)
_COUNT_AT = 8  # changes in the redo log; 0: none is under way

FREE, SENT, ANSWERED = range(3)
NOTHING_HELD = _RESERVATION.pack(FREE, 0, 0, 0, 0)
NO_LIMITS = Limits()


class LedgerFull(Exception):
    """There is no room for another account, worker or running request."""


@dataclass(frozen=True, slots=True)
class Party:
    """An account, by its position, and what it is allowed."""

    account: int
    limits: Limits


class Refused(Exception):
    """`party` is the one, of those that were asked, whose limit it was."""

    def __init__(self, party: int, refusal: Refusal) -> None:
        super().__init__(party, refusal)
        self.party = party
        self.refusal = refusal


class Ledger:
    """`folder` is made where it is missing. Times are Unix nanoseconds."""

    def __init__(self, folder: Path, clock: Callable[[], int] = time.time_ns) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._clock = clock
        self._file = os.open(folder / "accounts", os.O_RDWR | os.O_CREAT, 0o600)
        self._prepare()
        self._map = mmap.mmap(self._file, SIZE)
        self._known: dict[str, int] = {}

    def close(self) -> None:
        self._map.close()
        os.close(self._file)

    def account(self, name: str) -> int:
        """The position of the account of a key or project; made when first asked for. Raises: LedgerFull."""
        found = self._known.get(name)
        if found is None:
            with self.locked():
                found = self._known[name] = self._find(_id(name))
        return found

    def look_up(self, name: str) -> int | None:
        """The position of an account, where there is one."""
        id_ = _id(name)
        return next((position for position in self._places(id_) if self.read(position).id == id_), None)

    def read(self, position: int) -> Account:
        return _unpacked(_ACCOUNT.unpack_from(self._map, ACCOUNTS_AT + position * ACCOUNT_BYTES), position)

    def now(self) -> int:
        return self._clock()

    def locked(self) -> Self:
        """`with ledger.locked():` for microseconds, and never across an await."""
        return self

    def __enter__(self) -> None:
        """A change that its maker did not live to finish is finished first."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        if self._number(_COUNT_AT):
            self._redo()

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def commit(self, accounts: list[Account], place: int = 0, reservation: bytes = b"") -> None:
        """All of these changes or none. Only while locked. `place` 0: no reservation changes."""
        map_ = self._map
        writes = [(ACCOUNTS_AT + each.position * ACCOUNT_BYTES, _packed(each)) for each in accounts]
        if place:
            writes.append((place, reservation))
        log = b"".join([_LOGGED.pack(where, len(data)) + data for where, data in writes])
        map_[LOG_AT : LOG_AT + len(log)] = log
        _NUMBER.pack_into(map_, _COUNT_AT, len(writes))  # from here on it will happen
        for where, data in writes:
            map_[where : where + len(data)] = data
        _NUMBER.pack_into(map_, _COUNT_AT, 0)

    def sync(self) -> None:
        """To the disk. Slow: not in an event loop."""
        os.fsync(self._file)

    # -- seats -------------------------------------------------------------------------------------------------------

    def take_seat(self) -> Seat:
        """A place for this worker's reservations, with what a former holder left settled. Raises: LedgerFull."""
        for number in range(SEATS):
            lock = self._lock_of_seat(number)
            if lock is not None:
                self._settle_seat(number)
                return Seat(self, number, lock)
        raise LedgerFull(f"all {SEATS} seats are taken")

    def settle_left_seats(self) -> None:
        """What workers that died still held."""
        for path in self._folder.glob("seat-*"):
            number = int(path.name.partition("-")[2])
            lock = self._lock_of_seat(number)
            if lock is not None:
                self._settle_seat(number)
                os.close(lock)

    def _lock_of_seat(self, number: int) -> int | None:
        """The kernel unlocks what the dead held, however they died."""
        file = os.open(self._folder / f"seat-{number}", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return None
        return file

    def _settle_seat(self, number: int) -> None:
        at = SEATS_AT + number * SEAT_BYTES
        used = self._number(at)  # the first reservation's room holds how far the seat was ever used
        for place in range(1, used + 1):
            self.settle(at + place * RESERVATION_BYTES, None, (NO_LIMITS, NO_LIMITS))
        _NUMBER.pack_into(self._map, at, 0)

    # -- reservations ------------------------------------------------------------------------------------------------

    def reserve(self, place: int, parties: tuple[Party, Party], cost: Cost) -> tuple[Account, Account]:
        """Takes `cost` from both parties or from neither; their accounts thereafter. Raises: Refused."""
        with self.locked():
            now = self._clock()
            first, second = self.read(parties[0].account), self.read(parties[1].account)
            _check(0, first, parties[0].limits, cost, now)
            _check(1, second, parties[1].limits, cost, now)
            allowance.reserve(first, parties[0].limits, cost, now)
            allowance.reserve(second, parties[1].limits, cost, now)
            held = _RESERVATION.pack(SENT, first.position, second.position, cost.tokens, cost.picousd)
            self.commit([first, second], place, held)
        return first, second

    def mark_answered(self, place: int) -> None:
        """From now on the worker's death does not give the reservation back."""
        _NUMBER.pack_into(self._map, place, ANSWERED)

    def settle(self, place: int, used: Cost | None, limits: tuple[Limits, Limits]) -> None:
        """Once; a second time nothing is open. `used` None: nobody knows, so all that was reserved if it was answered,
        and nothing if not."""
        with self.locked():
            state, key, project, tokens, picousd = _RESERVATION.unpack_from(self._map, place)
            if state == FREE:
                return
            reserved = Cost(tokens, picousd)
            if used is None:
                used = reserved if state == ANSWERED else Cost()
            first, second = self.read(key), self.read(project)
            allowance.settle(first, limits[0], reserved, used)
            allowance.settle(second, limits[1], reserved, used)
            self.commit([first, second], place, NOTHING_HELD)

    def note(self, accounts: tuple[int, int], requests: int, used: Cost) -> None:
        """Adds up what was used without a reservation, for accounts of which nothing is limited."""
        with self.locked():
            now = self._clock()
            changed = [self.read(position) for position in accounts]
            for account in changed:
                allowance.begin_period(account, NO_LIMITS, now)
                account.requests += requests
                account.spent_tokens = min(account.spent_tokens + used.tokens, allowance.MOST)
                account.spent_picousd = min(account.spent_picousd + used.picousd, allowance.MOST)
            self.commit(changed)

    def count_request(self, parties: tuple[Party, Party]) -> None:
        """A request that asks no engine. Raises: Refused."""
        with self.locked():
            now = self._clock()
            accounts = self.read(parties[0].account), self.read(parties[1].account)
            for number, (account, party) in enumerate(zip(accounts, parties, strict=True)):
                per_minute = party.limits.requests_per_minute
                if per_minute and (wait := allowance.wait_ns(account.requests_due, 1, per_minute, now)):
                    raise Refused(number, Refusal(allowance.Reason.REQUESTS, wait / allowance.SECOND_NS))
                account.requests_due = allowance.taken(account.requests_due, 1, per_minute, now)
            self.commit(list(accounts))

    # -- below -------------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """A new file gets its size. Raises: ValueError for one that is no ledger of this format."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            if os.fstat(self._file).st_size == 0:
                os.ftruncate(self._file, SIZE)
                os.pwrite(self._file, MAGIC, 0)
            elif os.pread(self._file, len(MAGIC), 0) != MAGIC or os.fstat(self._file).st_size != SIZE:
                raise ValueError(f"{self._folder / 'accounts'} is no ledger of this version of Gyre; move it away")
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _places(self, id_: bytes) -> Iterator[int]:
        """Where an account may stand (open addressing), to the first free place."""
        start = int.from_bytes(id_[:8], "little")
        for step in range(ACCOUNTS):
            yield (start + step) % ACCOUNTS
            if self.read((start + step) % ACCOUNTS).id == NOBODY:
                return

    def _find(self, id_: bytes) -> int:
        """Accounts are never removed: what was spent is kept."""
        for position in self._places(id_):
            held = self.read(position).id
            if held == NOBODY:
                self.commit([Account(id_, position)])
            if held in (id_, NOBODY):
                return position
        raise LedgerFull(f"the ledger has {ACCOUNTS} accounts, and no room for more")

    def _redo(self) -> None:
        at = LOG_AT
        for _ in range(self._number(_COUNT_AT)):
            where, length = _LOGGED.unpack_from(self._map, at)
            at += _LOGGED.size
            self._map[where : where + length] = self._map[at : at + length]
            at += length
        _NUMBER.pack_into(self._map, _COUNT_AT, 0)

    def _number(self, at: int) -> int:
        return int(_NUMBER.unpack_from(self._map, at)[0])

    def note_use(self, seat: int, place: int) -> None:
        _NUMBER.pack_into(self._map, SEATS_AT + seat * SEAT_BYTES, place)


class Seat:
    """One worker's reservations: which places are free, this process knows."""

    def __init__(self, ledger: Ledger, number: int, lock: int) -> None:
        self._ledger = ledger
        self._number = number
        self._lock = lock
        self._at = SEATS_AT + number * SEAT_BYTES
        self._free: list[int] = []
        self._used = 0

    def place(self) -> int:
        """Where a reservation can stand. Raises: LedgerFull."""
        if self._free:
            return self._free.pop()
        if self._used == RESERVATIONS - 1:
            raise LedgerFull(f"{self._used} requests are running already")
        self._used += 1
        self._ledger.note_use(self._number, self._used)
        return self._at + self._used * RESERVATION_BYTES

    def give_back(self, place: int) -> None:
        self._free.append(place)

    def leave(self) -> None:
        os.close(self._lock)


def _id(name: str) -> bytes:
    return blake2b(name.encode(), digest_size=16).digest()


def _check(party: int, account: Account, limits: Limits, cost: Cost, now: int) -> None:
    """Raises: Refused."""
    allowance.begin_period(account, limits, now)
    refusal = allowance.refusal(account, limits, cost, now)
    if refusal is not None:
        raise Refused(party, refusal)


def _unpacked(fields: tuple[Any, ...], position: int) -> Account:
    account = Account(fields[0], position)
    account.period, account.period_end = fields[1], fields[2]
    account.requests_due, account.tokens_due = fields[3], fields[4]
    account.running, account.requests = fields[5], fields[6]
    account.spent_tokens, account.spent_picousd = fields[7], fields[8]
    account.reserved_tokens, account.reserved_picousd = fields[9], fields[10]
    return account


def _packed(account: Account) -> bytes:
    return _ACCOUNT.pack(
        account.id,
        account.period,
        account.period_end,
        account.requests_due,
        account.tokens_due,
        account.running,
        account.requests,
        account.spent_tokens,
        account.spent_picousd,
        account.reserved_tokens,
        account.reserved_picousd,
    )
