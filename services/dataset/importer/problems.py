"""The two ways to say no: to one row, or to a whole file. Both name the place and the remedy."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

EXCERPT = 200  # characters


class RowRefused(Exception):
    """One row cannot be used; the rest of the file can."""

    def __init__(self, field: str, reason: str, remedy: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field, self.reason, self.remedy = field, reason, remedy


class FileRefused(Exception):
    """Nothing of the file can be used. `message` is for people and says what to do."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


@dataclass(frozen=True)
class Reject:
    """A refused row as it is stored in rejects.jsonl, in the words of the proto message of that name."""

    line: int
    field: str
    reason: str
    remedy: str
    excerpt: str

    @classmethod
    def of(cls, line: int, refused: RowRefused, text: str) -> Reject:
        return cls(line, refused.field, refused.reason, refused.remedy, printable(text))

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def printable(text: str) -> str:
    """The first characters of `text`, fit for a screen: no control characters, no halves of characters."""
    head = text[:EXCERPT].encode("utf-8", "replace").decode("utf-8", "replace")
    return "".join(character if character.isprintable() else " " for character in head)
