"""The people's part: an application asks, its users say what is wrong, an expert decides."""

from __future__ import annotations

import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gyre.dataset.v1.version_pb2 import Row
from gyre.feedback.v1.feedback_pb2 import Feedback

from gyre_sdk.cli.progress import by_state
from gyre_sdk.demo.rows import pretty
from gyre_sdk.demo.story import Asked, Story
from gyre_sdk.errors import GyreError

SHOWN = 2
PARALLEL = 4
IMPROVED_SECONDS = 60.0


def ask(story: Story) -> None:
    """Through the unmodified `openai` client, streaming."""
    show, count = story.show, len(story.to_ask)
    show.step(f"Ask through the openai client: {count} messages that lap 1 was never taught")
    client = openai_client(story)
    for row in story.to_ask[:SHOWN]:
        story.asked.append(_ask_aloud(story, client, row))
    with ThreadPoolExecutor(PARALLEL) as pool:
        story.asked += pool.map(lambda row: _ask(story, client, row), story.to_ask[SHOWN:])
    right = sum(is_right(story, asked.row, asked.answer) for asked in story.asked)
    show.say(f"{right} of {count} answers were right")


def give_feedback(story: Story) -> None:
    """Thumbs and corrections by completion id, through /v1/feedback; two of them are nonsense, for the expert to find."""
    show, plan = story.show, story.plan
    show.step("Give feedback on the answers, by completion id")
    wrong_labels = _labels_to_spoil_with(story) if plan.shuffle_labels else []
    if plan.shuffle_labels:
        show.warn("labels are shuffled: each correction is the answer to another message")
    thumbs = {"thumbs_up": 0, "thumbs_down": 0}
    for number, asked in enumerate(story.asked):
        wanted = expected(asked.row)
        if plan.shuffle_labels:
            wanted = wrong_labels[number % len(wrong_labels)]
        good = is_right(story, asked.row, asked.answer) and not plan.shuffle_labels
        body = {"completion_id": asked.completion, "rating": "thumbs_up" if good else "thumbs_down"}
        if not good:
            body |= {"correction": wanted, "slice": asked.row.slice or plan.new_slice}
        thumbs[body["rating"]] += 1
        _send(story, body)
    for asked in story.asked[:2]:
        _send(
            story, {"completion_id": asked.completion, "rating": "thumbs_down", "correction": "asdf", "comment": "lol"}
        )
    show.say(f"{thumbs['thumbs_down']} corrections, {thumbs['thumbs_up']} thumbs up, and 2 pieces of nonsense")


def review(story: Story) -> None:
    """The expert claims each piece and approves, edits or rejects it; what was approved becomes two data set versions."""
    show = story.show
    show.step("Review: approve, edit, reject")
    counts = {"approved": 0, "edited": 0, "rejected": 0}
    for feedback in story.reviewer.feedback.list(filter="state=SUBMITTED"):
        counts[_decide(story, feedback, first=counts["edited"] == 0)] += 1
    story.last_approval = time.time()
    show.say(", ".join(f"{count} {what}" for what, count in counts.items()))
    batch = story.reviewer.batches.create(f"{story.plan.slug}-corrections", display_name="corrections for lap 2")
    with show.watching(by_state) as watching:
        batch = story.reviewer.batches.wait(batch.name, on_update=watching)
    story.batch = batch.name
    show.say(f"{batch.sft_count} rows to learn from ({batch.sft_version})")
    show.say(f"{batch.preference_count} pairs of chosen and rejected ({batch.preference_version})")


def ask_again(story: Story) -> None:
    """What was wrong before is asked again, until the first right answer."""
    story.show.step("Ask again what lap 1 got wrong")
    client = openai_client(story)
    wrong = [asked for asked in story.asked if not is_right(story, asked.row, asked.answer)]
    deadline = time.monotonic() + IMPROVED_SECONDS
    for asked in wrong * 3:
        again = _ask(story, client, asked.row)
        if is_right(story, asked.row, again.answer):
            story.improved_after = time.time() - story.last_approval
            story.improved_completion = again.completion
            _show_change(story, asked, again)
            return
        if time.monotonic() > deadline:
            break
    story.show.warn("no answer improved")


def openai_client(story: Story) -> Any:
    import openai

    config = story.application.config
    return openai.OpenAI(base_url=config.openai_url, api_key=config.key, timeout=120)


def is_right(story: Story, row: Row, answer: str) -> bool:
    """As the suite's scorer sees it."""
    scorer = story.plan.scorer
    if not scorer.exact_fields:
        return answer.strip() == expected(row).strip()
    try:
        given, wanted = json.loads(answer), json.loads(expected(row))
    except ValueError:
        return False
    return isinstance(given, dict) and all(given.get(name) == wanted.get(name) for name in scorer.exact_fields)


def expected(row: Row) -> str:
    return str(row.messages[-1].content)


def _ask(story: Story, client: Any, row: Row) -> Asked:
    return _collect(row, _stream(story, client, row))


def _ask_aloud(story: Story, client: Any, row: Row) -> Asked:
    story.show.say(f"« {row.messages[-2].content} »")
    asked = _collect(row, _stream(story, client, row))
    story.show.say(f"  → {pretty(asked.answer)}")
    return asked


def _stream(story: Story, client: Any, row: Row) -> Any:
    return client.chat.completions.create(
        model=story.deployment,
        messages=[{"role": turn.role, "content": turn.content} for turn in row.messages[:-1]],
        max_tokens=story.plan.max_tokens,
        temperature=0,
        stream=True,
    )


def _collect(row: Row, chunks: Any) -> Asked:
    name, pieces = "", []
    for chunk in chunks:
        name = chunk.id
        pieces += [choice.delta.content or "" for choice in chunk.choices]
    return Asked(name, row, "".join(pieces))


def _send(story: Story, body: dict[str, str]) -> None:
    """As an application does: one POST to the same endpoint that answered, with the same key."""
    import httpx

    config = story.application.config
    headers = {"authorization": f"Bearer {config.key}"}
    reply = httpx.post(f"{config.openai_url}/feedback", json=body, headers=headers, timeout=20)
    if reply.is_error:
        raise GyreError(reply.status_code, "FEEDBACK_REFUSED", reply.text[:300])


def _decide(story: Story, feedback: Feedback, first: bool) -> str:
    desk = story.reviewer.feedback
    desk.claim(feedback.name)
    if feedback.correction == "asdf":
        desk.reject(feedback.name, reason="not an answer")
        return "rejected"
    if first and feedback.correction:
        desk.approve(feedback.name, edit=_tidied(feedback.correction))
        return "edited"
    desk.approve(feedback.name)
    return "approved"


def _tidied(correction: str) -> str:
    """What an expert's edit looks like: the same facts, a kinder reply."""
    try:
        answer = json.loads(correction)
    except ValueError:
        return correction.strip()
    if isinstance(answer, dict) and isinstance(answer.get("reply"), str):
        answer["reply"] = f"Thank you. {answer['reply']}"
    return json.dumps(answer, ensure_ascii=False)


def _labels_to_spoil_with(story: Story) -> list[str]:
    """Answers to other messages, of what lap 1 was taught: none of them is right here."""
    answers = [expected(row) for row in story.gyre.datasets.rows(story.taught, split="TRAIN")]
    random.Random(story.plan.seed).shuffle(answers)
    return answers


def _show_change(story: Story, before: Asked, after: Asked) -> None:
    story.show.say(f"« {before.row.messages[-2].content} »")
    story.show.say(f"  lap 1 → {pretty(before.answer)}")
    story.show.good(f"  now   → {pretty(after.answer)}")
