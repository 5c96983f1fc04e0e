"""Looks at the rows and the base before anything is trained: what can never work is refused, what loses rows is told."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

from jinja2 import TemplateError

from gyre_trainers import base, data, fit, tokens
from gyre_trainers.data import Message, Row
from gyre_trainers.exits import BadInput
from gyre_trainers.health import Alarm, Kind
from gyre_trainers.methods import METHODS, Method
from gyre_trainers.settings import Action

log = logging.getLogger("gyre_trainers.checks")

SAMPLE: Final = 2000  # rows looked at, evenly among all: more would cost minutes and say the same
CUT_WORTH_TELLING: Final = 0.05  # of the rows
UNCUT: Final = frozenset({Method.CPT, Method.GRPO})  # blocks of one length; prompts as long as they are
Talk = list[Message]


def check(job: fit.Job) -> None:
    """Tells of rows that will be cut and answers that are empty, once a run. Raises: BadInput."""
    tokenizer = base.load_tokenizer(job.base)
    refuse_larger_vocabulary(job, tokenizer)
    rows = job.rows(*(("messages",) if METHODS[job.spec.method].rows == "SFT" else data.PREFERENCE))
    seen = rows[:: -(-len(rows) // SAMPLE) or 1]
    talks = [talk for row in seen for talk in talks_of(row, job.spec.method)]
    if job.spec.method is not Method.CPT:
        refuse_template(tokenizer, talks)
    if job.spec.attempt > 1:
        return
    for kind, share in (
        (Kind.ROWS_CUT, cut_share(tokenizer, talks, job)),
        (Kind.EMPTY_ANSWERS, empty_share(seen, job.spec.method)),
    ):
        least = CUT_WORTH_TELLING if kind is Kind.ROWS_CUT else 0.0
        if share > least:
            log.warning("%s: %.1f %% of the rows", kind, 100 * share)
            job.reporter.alarm(Alarm(kind, Action.WARN, 0, {"value": share, "limit": least}))


def refuse_larger_vocabulary(job: fit.Job, tokenizer: Any) -> None:
    """A token past the last row of the embeddings would end the run with an index error, wherever it first comes."""
    known = int(base.check_folder(job.base).get("vocab_size") or 0)
    largest = max(tokenizer.get_vocab().values())
    if known and largest >= known:
        problem = f"the tokenizer has a token {largest}, the model only {known} (from 0)"
        raise BadInput("base.uri", problem, "import the model with the tokenizer that it was trained with")


def talks_of(row: Row, method: Method) -> list[Talk]:
    """The conversations that a method reads of a row, each as a whole."""
    if METHODS[method].rows == "PREFERENCE":
        return [row["prompt"] + row["chosen"], row["prompt"] + row["rejected"]]
    messages = list(row["messages"])
    if method is Method.PPO:
        while messages and messages[-1]["role"] == "assistant":
            messages.pop()
    return [messages] if messages else []


def refuse_template(tokenizer: Any, talks: Sequence[Talk]) -> None:
    """Each order of roles has to go through the chat template, and leave what was said in it. A word stands for what was
    said, for templates may change a text, such as by dropping earlier thoughts."""
    for order in sorted({tuple(message["role"] for message in talk) for talk in talks}):
        talk: Talk = [{"role": role, "content": f"word{at}word"} for at, role in enumerate(order)]
        roles = ", ".join(order)
        remedy = "give rows of roles that the base's chat template knows, or a base with another template"
        try:
            text = tokenizer.apply_chat_template(talk, tokenize=False)
        except TemplateError as error:
            problem = f"the base's chat template refuses messages by {roles} ({error})"
            raise BadInput("data", problem, remedy) from error
        if lost := [one["role"] for one in talk if one["content"] not in text]:
            raise BadInput("data", f"the base's chat template leaves out what {lost[0]} says in {roles}", remedy)


def cut_share(tokenizer: Any, talks: Sequence[Talk], job: fit.Job) -> float:
    """Conversations longer than `max_length`."""
    if not talks or job.spec.method in UNCUT:
        return 0.0
    most = job.hyperparameters.max_length
    return sum(len(tokens.template_ids(tokenizer, talk)) > most for talk in talks) / len(talks)


def empty_share(rows: Sequence[Row], method: Method) -> float:
    """Rows of which an answer says nothing. Raises: BadInput where none says anything."""
    if method in (Method.CPT, Method.PPO, Method.GRPO) or not rows:
        return 0.0
    empty = sum(any(not text.strip() for text in answers_of(row)) for row in rows) / len(rows)
    if empty == 1:
        raise BadInput("data", "no row has an answer that says something", "give rows whose answers are filled in")
    return empty


def answers_of(row: Row) -> list[str]:
    if "messages" in row:
        return [one["content"] for one in row["messages"] if one["role"] == "assistant"]
    return ["".join(one["content"] for one in row[side]) for side in ("chosen", "rejected")]
