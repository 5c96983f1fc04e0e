"""One import, from files to files. Runs in a process of its own (work.py), and in tests as a function."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from services.dataset.importer import canonical, files, profile, validate
from services.dataset.importer.detect import Detected, described, detect, understood
from services.dataset.importer.encoding import GB18030, UTF8
from services.dataset.importer.near_duplicates import NearDuplicates
from services.dataset.importer.problems import FileRefused, Reject, RowRefused
from services.dataset.importer.readers import MAX_ROWS, read
from services.dataset.importer.split import TEST, TRAIN, Key, SplitSettings, assign

ID_LENGTH: Final = 24  # hexadecimal digits of a row's content hash


@dataclass(frozen=True)
class Mixed:
    """rows.parquet of another version; at most `max_rows` of its train rows, 0 for all."""

    version: str
    rows: str
    max_rows: int = 0


@dataclass(frozen=True)
class Job:
    """What to import. `source` may be empty where `mixed` says it all; `filename` helps to tell the file type."""

    dataset_type: str
    source: str = ""
    filename: str = ""
    file_type: str = ""
    row_format: str = ""
    split: SplitSettings = field(default_factory=SplitSettings)
    mixed: tuple[Mixed, ...] = ()
    max_rows: int = MAX_ROWS
    max_characters: int = validate.MAX_CHARACTERS

    @classmethod
    def from_json(cls, text: str) -> Job:
        given = json.loads(text)
        mixed = tuple(Mixed(**one) for one in given.pop("mixed"))
        return cls(**given | {"split": SplitSettings(**given["split"]), "mixed": mixed})

    def to_json(self) -> str:
        return json.dumps(asdict(self))


@dataclass
class Outcome:
    """What became of it. With a `failure_reason` only rejects.jsonl was written."""

    file_type: str = ""
    encoding: str = ""
    row_format: str = ""
    digest: str = ""
    row_count: int = 0
    train_count: int = 0
    test_count: int = 0
    refused_count: int = 0
    duplicate_count: int = 0
    near_duplicate_count: int = 0
    failure_reason: str = ""
    failure_message: str = ""
    profile: dict[str, Any] = field(default_factory=dict)


def run(job: Job, out: Path) -> Outcome:
    """Writes rows, train and test Parquet, rejects.jsonl and profile.json below `out`."""
    gathered = Gathering(job)
    spool_path = out / "spool.arrow"
    try:
        with files.Spool(spool_path, job.dataset_type) as spool:
            gathered.read_all(spool)
            outcome = _divide_and_write(job, gathered, spool, out)
    except FileRefused as refused:
        outcome = gathered.outcome()
        outcome.failure_reason, outcome.failure_message = refused.reason, refused.message
    spool_path.unlink()
    files.write_rejects(out, gathered.sorted_rejects())
    return outcome


def _divide_and_write(job: Job, gathered: Gathering, spool: files.Spool, out: Path) -> Outcome:
    """1 compare all rows, 2 refuse what would leak, 3 split, 4 write, 5 count."""
    near = NearDuplicates(spool, job.split.near_duplicate_threshold)
    clusters = near.clusters().tolist()
    leaking = _leaks(spool.column("_side"), clusters, near)
    for row in leaking:
        gathered.refuse_leak(spool, row)
    sides = _sides(spool, clusters, leaking, job.split)
    files.write_rows(out, job.dataset_type, spool, sides)
    outcome = gathered.outcome()
    outcome.digest = _digest(spool, sides, job)
    together = Counter((cluster, side) for cluster, side in zip(clusters, sides, strict=True) if side)
    outcome.near_duplicate_count = sum(count for count in together.values() if count > 1)
    outcome.train_count, outcome.test_count = sides.count(TRAIN), sides.count(TEST)
    outcome.row_count = outcome.train_count + outcome.test_count
    _check_any(gathered, outcome.row_count)
    outcome.profile = _profile(job, gathered, outcome, together, out)
    (out / "profile.json").write_text(json.dumps(outcome.profile, ensure_ascii=False), encoding="utf-8")
    return outcome


class Gathering:
    """Reads rows of mixed-in versions and of the source into the spool, and keeps what was refused."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.detected = Detected("", "")
        self.formats: Counter[str] = Counter()
        self._rejects: list[tuple[int, Reject]] = []  # with the origin: 0 the source, 1 the first mixed-in version
        self._origins: list[int] = []
        self._seen: set[bytes] = set()

    def read_all(self, spool: files.Spool) -> None:
        """Held-out rows first: of two equal rows the first is kept. Raises: FileRefused."""
        for side in (TEST, TRAIN):
            for origin, mixed in enumerate(self.job.mixed, 1):
                self._read_mixed(spool, origin, mixed, side)
        if self.job.source:
            self._read_source(spool)
        spool.finish()
        _check_any(self, len(spool))

    def refuse_leak(self, spool: files.Spool, row: int) -> None:
        line, text, origin = spool.cell("source_line", row), spool.whole(row), self._origins[row]
        remedy = "it says nearly the same as a held-out row; leave it out, or the evaluation would measure memory"
        refused = RowRefused("", "NEAR_DUPLICATE_OF_HELD_OUT", remedy + self._of(origin))
        self._rejects.append((origin, Reject.of(line, refused, text)))

    def sorted_rejects(self) -> list[Reject]:
        return [reject for _, reject in sorted(self._rejects, key=lambda one: (one[0], one[1].line))]

    def reasons(self) -> Counter[str]:
        return Counter(reject.reason for _, reject in self._rejects)

    def outcome(self) -> Outcome:
        most = self.formats.most_common(1)
        return Outcome(
            file_type=self.detected.file_type,
            encoding=self.detected.encoding,
            row_format=most[0][0] if most else "",
            refused_count=len(self._rejects),
            duplicate_count=self.reasons()["EXACT_DUPLICATE"],
        )

    def _read_source(self, spool: files.Spool) -> None:
        job, path = self.job, Path(self.job.source)
        self.detected = detect(path, job.filename, job.file_type)
        for record in read(path, self.detected.file_type, self.detected.encoding or UTF8, job.max_rows):
            try:
                if record.refused:
                    raise record.refused
                parsed = understood(record.row or {}, job.dataset_type, job.row_format, job.max_characters)
                columns = files.turn_columns(parsed, job.dataset_type)
                row = {"slice": parsed.slice, "source_line": record.line, "meta": canonical.meta_json(parsed.meta)}
                self._add(spool, columns, row | {"_side": ""}, origin=0)
                self.formats[parsed.row_format] += 1
            except RowRefused as refused:
                self._rejects.append((0, Reject.of(record.line, refused, record.text)))

    def _read_mixed(self, spool: files.Spool, origin: int, mixed: Mixed, side: str) -> None:
        wanted = _drawn(mixed, self.job.split.seed) if side == TRAIN and mixed.max_rows else None
        for row in files.read_side(Path(mixed.rows), side):
            if wanted is not None and row["id"] not in wanted:
                continue
            columns = {name: row[name] for name in files.COLUMNS[self.job.dataset_type]}
            kept = {name: row[name] for name in ("slice", "source_line", "meta")}
            try:
                self._add(spool, columns, kept | {"_side": side}, origin)
            except RowRefused as refused:
                text = json.dumps(columns, ensure_ascii=False)
                self._rejects.append((origin, Reject.of(row["source_line"], refused, text)))

    def _add(self, spool: files.Spool, columns: files.Columns, row: dict[str, Any], origin: int) -> None:
        """Raises: RowRefused (EXACT_DUPLICATE)."""
        content = hashlib.sha256(json.dumps(columns, ensure_ascii=False, sort_keys=True).encode()).digest()
        if content in self._seen:
            remedy = "an earlier row says exactly the same; remove one of them"
            raise RowRefused("", "EXACT_DUPLICATE", remedy + self._of(origin))
        self._seen.add(content)
        self._origins.append(origin)
        text = {"_user": files.user_text(columns), "_whole": files.whole_text(columns), "_hash": content}
        spool.add({"id": content.hex()[:ID_LENGTH], **columns, **row, **text})

    def _of(self, origin: int) -> str:
        return f" (a row of {self.job.mixed[origin - 1].version})" if origin else ""


def _drawn(mixed: Mixed, seed: int) -> set[str]:
    """The ids of `max_rows` train rows: those that come first in the order of the seed."""
    order = {
        row_id: hashlib.sha256(f"{seed}:{row_id}".encode()).digest() for row_id in files.ids_of(Path(mixed.rows), TRAIN)
    }
    return set(sorted(order, key=order.__getitem__)[: mixed.max_rows])


def _check_any(gathered: Gathering, rows: int) -> None:
    """Raises: FileRefused (NO_ROWS_ACCEPTED) with the commonest reason and the first row at fault."""
    if rows:
        return
    rejects = gathered.sorted_rejects()
    if not rejects:
        raise FileRefused("NO_ROWS_ACCEPTED", "Line 1: the source holds no row; choose a file with at least one.")
    reason, count = gathered.reasons().most_common(1)[0]
    raise FileRefused(
        "NO_ROWS_ACCEPTED",
        f"None of {len(rejects)} rows could be used; {count} times the reason is {reason}. {described(rejects[0])}",
    )


def _leaks(given: Sequence[str], clusters: Sequence[int], near: NearDuplicates) -> set[int]:
    """Rows that are near-duplicates of a held-out row which another version brings along."""
    held: dict[int, list[int]] = {}
    for row, (side, cluster) in enumerate(zip(given, clusters, strict=True)):
        if side == TEST:
            held.setdefault(cluster, []).append(row)
    return {
        row
        for row, (side, cluster) in enumerate(zip(given, clusters, strict=True))
        if side != TEST and any(near.near(row, other) for other in held.get(cluster, ()))
    }


def _sides(spool: files.Spool, clusters: Sequence[int], leaking: set[int], settings: SplitSettings) -> list[str | None]:
    """TRAIN or TEST for each row of the spool, None for those that leak."""
    columns = zip(spool.column("id"), spool.column("slice"), clusters, spool.column("_side"), strict=True)
    keys = [Key(*values) for row, values in enumerate(columns) if row not in leaking]
    assigned = iter(assign(keys, settings))
    return [None if row in leaking else next(assigned) for row in range(len(clusters))]


def _digest(spool: files.Spool, sides: Sequence[str | None], job: Job) -> str:
    """Over type, settings and the accepted rows in their order, each with its side, slice and further columns."""
    digest = hashlib.sha256(json.dumps([job.dataset_type, asdict(job.split)], sort_keys=True).encode())
    rows = zip(spool.column("_hash"), sides, spool.column("slice"), spool.column("meta"), strict=True)
    for content, side, slice, meta in rows:
        if side:
            digest.update(content + json.dumps([side, slice, meta]).encode())
    return f"sha256:{digest.hexdigest()}"


def _profile(
    job: Job, gathered: Gathering, outcome: Outcome, together: Counter[tuple[int, str]], out: Path
) -> dict[str, Any]:
    clusters = [count for count in together.values() if count > 1]
    notes = []
    if outcome.encoding == GB18030:
        notes.append("The file was read as GB18030 and is stored as UTF-8.")
    wanted = round(job.split.test_fraction * outcome.row_count)
    if outcome.test_count < wanted * 0.9 - 1:
        notes.append(
            f"{outcome.test_count} rows are held out instead of {wanted}: rows that say nearly the same stay together, "
            f"and the largest such group has {max(clusters, default=1)}."
        )
    return {
        "rows": outcome.row_count,
        "train": outcome.train_count,
        "test": outcome.test_count,
        "row_formats": dict(gathered.formats),
        "rejects": dict(gathered.reasons()),
        "near_duplicates": {"groups": len(clusters), "rows": sum(clusters), "largest": max(clusters, default=0)},
        **profile.describe(out / "rows.parquet", job.dataset_type),
        "notes": notes,
    }
