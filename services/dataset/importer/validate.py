"""What makes a row fit to train on: roles in order, nothing empty, clean text, not too long."""

from __future__ import annotations

from typing import Final

from services.dataset.importer.canonical import Parsed, Turn
from services.dataset.importer.encoding import SAVE_AS_UTF8
from services.dataset.importer.problems import RowRefused

MAX_CHARACTERS: Final = 100_000


def check(parsed: Parsed, dataset_type: str, max_characters: int = MAX_CHARACTERS) -> None:
    """Raises: RowRefused, naming the field and what to do."""
    check_turns(parsed)
    _check_length(parsed, max_characters)
    if dataset_type == "PREFERENCE":
        _check_order(parsed.turns, last="user")
        for side in (parsed.chosen, parsed.rejected):
            _check_order(side, first="assistant", last="assistant")
        if _words(parsed.chosen) == _words(parsed.rejected):
            raise RowRefused("rejected", "SAME_ANSWERS", "chosen and rejected are the same; a pair needs a difference")
    else:
        _check_order(parsed.turns, last="user" if dataset_type == "PROMPT" else "assistant")


def check_turns(parsed: Parsed) -> None:
    """What every turn of every data set must be. Raises: RowRefused."""
    for turn in (*parsed.turns, *parsed.chosen, *parsed.rejected):
        if not turn.content.strip():
            raise RowRefused(turn.at, "EMPTY_CONTENT", "the text is empty; write it, or remove the row")
        if "\0" in turn.content:
            raise RowRefused(turn.at, "NUL_CHARACTER", "the text holds a NUL character; remove it")
        if not _is_unicode(turn.content):
            raise RowRefused(turn.at, "NOT_UTF8", f"the text holds bytes that are no characters; {SAVE_AS_UTF8}")


def _check_order(turns: list[Turn], *, last: str, first: str = "user") -> None:
    """An optional system turn, then user and assistant by turns, from `first` to `last`."""
    spoken = turns[1:] if turns and turns[0].role == "system" and first == "user" else turns
    if not spoken:
        at = turns[0].at if turns else ""
        raise RowRefused(at, "ROLE_ORDER", f"there is no {first} turn; add it")
    expected = first
    for turn in spoken:
        if turn.role != expected:
            raise RowRefused(
                turn.at, "ROLE_ORDER", f"a turn of {turn.role} stands where {expected} should speak; mend the order"
            )
        expected = "assistant" if expected == "user" else "user"
    if spoken[-1].role != last:
        raise RowRefused(spoken[-1].at, "ROLE_ORDER", f"the last turn must be the {last}'s; add or remove one")


def _check_length(parsed: Parsed, max_characters: int) -> None:
    turns = (*parsed.turns, *parsed.chosen, *parsed.rejected)
    total = sum(len(turn.content) for turn in turns)
    if total > max_characters:
        longest = max(turns, key=lambda turn: len(turn.content))
        raise RowRefused(
            longest.at, "TOO_LONG", f"the row has {total} characters, at most {max_characters} are taken; shorten it"
        )


def _words(turns: list[Turn]) -> list[str]:
    return [turn.content.strip() for turn in turns]


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
