"""Row shapes → one form: turns to imitate, or a prompt with a chosen and a rejected answer.

Names of fields and roles are those of Alpaca, ShareGPT (also as LLaMA-Factory writes it, with chosen and rejected),
OpenAI's messages, TRL's prompt/completion and preference rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from services.dataset.importer.problems import RowRefused

ROLES: Final = {
    "system": "system", "user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant",
    "model": "assistant", "bot": "assistant", "chatgpt": "assistant",
}  # fmt: skip
TOOL_ROLES: Final = ("function_call", "observation", "tool", "function", "tool_call", "tool_response")
QUESTIONS: Final = ("prompt", "question", "query")
ANSWERS: Final = ("completion", "answer", "response", "output")
LONGEST_SLICE: Final = 100
SHAPES: Final = (
    "Alpaca (instruction, input, output), ShareGPT (conversations), messages, prompt and completion, or prompt, "
    "chosen and rejected"
)


@dataclass(frozen=True)
class Turn:
    """`at` is the path of the content in the source, for whoever has to repair it."""

    role: str
    content: str
    at: str


@dataclass
class Parsed:
    """One row understood. `turns` is the whole conversation, or the prompt where there are answers to choose from."""

    row_format: str
    turns: list[Turn]
    chosen: list[Turn] = field(default_factory=list)
    rejected: list[Turn] = field(default_factory=list)
    slice: str = ""
    meta: dict[str, Any] = field(default_factory=dict)


def parse(row: Mapping[str, Any], row_format: str = "") -> Parsed:
    """Reads `row` in the shape that its fields show, which must be `row_format` if one is given.

    Raises: RowRefused, naming the field.
    """
    given = {key: value for key, value in row.items() if value is not None}
    shape = shape_of(given)
    if row_format and shape != row_format:
        raise RowRefused("", "WRONG_SHAPE", f"the row is {shape}, not {row_format} as asked for; leave the format open")
    parsed, used = PARSERS[shape](given)
    parsed.row_format = shape
    parsed.slice = _slice(given)
    parsed.meta = {key: value for key, value in given.items() if key not in used and key != "slice" and value != ""}
    return parsed


def shape_of(given: Mapping[str, Any]) -> str:
    """Raises: RowRefused (UNKNOWN_SHAPE), naming the fields that there are."""
    if "chosen" in given and "rejected" in given:
        return "PREFERENCE"
    for name in ("messages", "conversations"):
        if name in given:
            return "SHAREGPT" if _first_keys(given[name]) & {"from", "value"} else "MESSAGES"
    if "instruction" in given:
        return "ALPACA"
    if _first(given, QUESTIONS):
        return "PROMPT_COMPLETION" if _first(given, ANSWERS) else "PROMPT"
    fields = ", ".join(sorted(str(key) for key in given))[:160] or "none"
    raise RowRefused("", "UNKNOWN_SHAPE", f"the row has the fields {fields}; write it as {SHAPES}")


def fit(parsed: Parsed, dataset_type: str) -> Parsed:
    """The same row for a data set of `dataset_type`. Raises: RowRefused where it teaches something else."""
    is_pair = parsed.row_format == "PREFERENCE"
    if dataset_type == "PREFERENCE" and not is_pair:
        raise RowRefused(
            "chosen", "MISSING_FIELD", "a preference row has prompt, chosen and rejected; put others in an SFT data set"
        )
    if dataset_type == "PROMPT":
        while parsed.turns and parsed.turns[-1].role == "assistant":
            parsed.turns.pop()
        parsed.chosen = parsed.rejected = []
    elif dataset_type != "PREFERENCE":
        _check_imitable(parsed, is_pair)
    return parsed


def _check_imitable(parsed: Parsed, is_pair: bool) -> None:
    if is_pair:
        raise RowRefused("rejected", "WRONG_TYPE", "the row is a pair; put it in a PREFERENCE data set")
    if parsed.meta.get("label") is False:
        raise RowRefused(
            "label",
            "MARKED_AS_BAD",
            "label false says that the answer is bad; leave the row out, or pair it with a good answer",
        )
    if parsed.row_format in ("ALPACA", "PROMPT") and parsed.turns[-1].role != "assistant":
        where = "output" if parsed.row_format == "ALPACA" else "completion"
        raise RowRefused(where, "MISSING_FIELD", "the row has no answer to learn from; add it")


def _alpaca(row: Mapping[str, Any]) -> tuple[Parsed, set[str]]:
    turns = _system(row)
    history = row.get("history") or []
    if not isinstance(history, list):
        raise _wrong("history", "a list of [question, answer]", history)
    for index, pair in enumerate(history):
        if not isinstance(pair, list) or len(pair) != 2:
            raise _wrong(f"history[{index}]", "a list of question and answer", pair)
        turns += [
            Turn(role, _text(text, f"history[{index}][{side}]"), f"history[{index}][{side}]")
            for side, (role, text) in enumerate(zip(("user", "assistant"), pair, strict=True))
        ]
    turns.append(Turn("user", _question(row), "instruction"))
    answer = _first(row, ("output", "response"))
    if answer:
        turns.append(Turn("assistant", _text(row[answer], answer), answer))
    return Parsed("", turns), {"instruction", "input", answer, "system", "history"}


def _question(row: Mapping[str, Any]) -> str:
    """Instruction and input as Alpaca joins them; empty if the instruction is, whatever the input says."""
    instruction, given = _text(row["instruction"], "instruction"), _text(row.get("input", ""), "input")
    return f"{instruction}\n{given}" if given.strip() and instruction.strip() else instruction


def _conversation(row: Mapping[str, Any]) -> tuple[Parsed, set[str]]:
    name = "messages" if "messages" in row else "conversations"
    turns = _turns(row[name], name)
    system = [] if turns and turns[0].role == "system" else _system(row)
    return Parsed("", system + turns), {name, "system"}


def _prompt_completion(row: Mapping[str, Any]) -> tuple[Parsed, set[str]]:
    question, answer = _first(row, QUESTIONS), _first(row, ANSWERS)
    turns = [] if isinstance(row[question], list) else _system(row)
    turns += _side(row[question], question, "user")
    if answer:
        turns += _side(row[answer], answer, "assistant")
    return Parsed("", turns), {question, answer, "system"}


def _preference(row: Mapping[str, Any]) -> tuple[Parsed, set[str]]:
    chosen, rejected = _side(row["chosen"], "chosen", "assistant"), _side(row["rejected"], "rejected", "assistant")
    used = {"chosen", "rejected", "system"}
    if "instruction" in row:
        prompt, used_there = _alpaca({key: value for key, value in row.items() if key != "output"})
        return Parsed("", prompt.turns, chosen, rejected), used | used_there
    if "messages" in row or "conversations" in row:
        prompt, used_there = _conversation(row)
        return Parsed("", prompt.turns, chosen, rejected), used | used_there
    if question := _first(row, QUESTIONS):
        turns = [] if isinstance(row[question], list) else _system(row)
        return Parsed("", turns + _side(row[question], question, "user"), chosen, rejected), used | {question}
    shared = _shared(chosen, rejected)
    return Parsed("", _system(row) + chosen[:shared], chosen[shared:], rejected[shared:]), used


def _shared(chosen: list[Turn], rejected: list[Turn]) -> int:
    """How many turns both sides begin with: TRL's implicit prompt. Raises: RowRefused if there are none."""
    same = 0
    for left, right in zip(chosen, rejected, strict=False):
        if (left.role, left.content) != (right.role, right.content):
            break
        same += 1
    if not same:
        raise RowRefused(
            "prompt", "MISSING_FIELD", "add the prompt, or let chosen and rejected begin with the same turns"
        )
    return same


PARSERS: Final[Mapping[str, Callable[[Mapping[str, Any]], tuple[Parsed, set[str]]]]] = {
    "ALPACA": _alpaca,
    "SHAREGPT": _conversation,
    "MESSAGES": _conversation,
    "PROMPT_COMPLETION": _prompt_completion,
    "PROMPT": _prompt_completion,
    "PREFERENCE": _preference,
}


def _side(value: Any, at: str, role: str) -> list[Turn]:
    """A text, one turn, or several."""
    if isinstance(value, str):
        return [Turn(role, value, at)]
    if isinstance(value, dict):
        return [_turn(value, at)]
    return _turns(value, at)


def _turns(value: Any, at: str) -> list[Turn]:
    if not isinstance(value, list):
        raise _wrong(at, "a list of turns", value)
    if not value:
        raise RowRefused(at, "EMPTY_CONTENT", "the list has no turn; add at least a user's and an assistant's")
    return [_turn(turn, f"{at}[{index}]") for index, turn in enumerate(value)]


def _turn(turn: Any, at: str) -> Turn:
    if not isinstance(turn, dict):
        raise _wrong(at, "an object with role and content", turn)
    role_key = "role" if "role" in turn else "from"
    content_key = "content" if "content" in turn else "value" if "value" in turn or role_key == "from" else "content"
    for key in (role_key, content_key):
        if key not in turn:
            raise RowRefused(f"{at}.{key}", "MISSING_FIELD", "each turn has role and content (or from and value)")
    role = _text(turn[role_key], f"{at}.{role_key}").strip().lower()
    if role in TOOL_ROLES:
        raise RowRefused(
            f"{at}.{role_key}", "UNSUPPORTED_ROLE",
            f"{role} turns cannot be trained on yet; write a call as an assistant's turn and its result as a user's",
        )  # fmt: skip
    if role not in ROLES:
        raise RowRefused(f"{at}.{role_key}", "UNKNOWN_ROLE", "a role is system, user or assistant (human, gpt)")
    return Turn(ROLES[role], _text(turn[content_key], f"{at}.{content_key}"), f"{at}.{content_key}")


def _system(row: Mapping[str, Any]) -> list[Turn]:
    text = _text(row.get("system", ""), "system")
    return [Turn("system", text, "system")] if text.strip() else []


def _slice(row: Mapping[str, Any]) -> str:
    name = _text(row.get("slice", ""), "slice").strip()
    if len(name) > LONGEST_SLICE or not name.isprintable():
        raise RowRefused("slice", "BAD_SLICE", f"a slice is a label of at most {LONGEST_SLICE} printable characters")
    return name


def _text(value: Any, at: str) -> str:
    if not isinstance(value, str):
        raise _wrong(at, "a string", value)
    return value


def _wrong(at: str, wanted: str, value: Any) -> RowRefused:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    found = names.get(type(value), "a number" if isinstance(value, int | float) else type(value).__name__)
    return RowRefused(at, "WRONG_TYPE", f"it is {found}; write {wanted}")


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((name for name in names if name in row), "")


def _first_keys(value: Any) -> set[str]:
    return set(value[0]) if isinstance(value, list) and value and isinstance(value[0], dict) else set()


def meta_json(meta: Mapping[str, Any]) -> str:
    """Columns without a place of their own; the same for the same values. Raises: RowRefused."""
    if not meta:
        return "{}"
    for key, value in meta.items():
        try:
            json.dumps({key: value}, ensure_ascii=False, default=str).encode()
        except UnicodeEncodeError as error:
            raise RowRefused("", "NOT_UTF8", "a further field of the row is not UTF-8; repair or remove it") from error
        except (TypeError, ValueError) as error:
            raise RowRefused(
                "", "WRONG_TYPE", "a further field of the row cannot be kept as JSON; remove it"
            ) from error
    return json.dumps(meta, ensure_ascii=False, default=str, sort_keys=True)
