"""What applications asked, for the gallery: prompts in versions, traces, guardrails' findings, batches, an experiment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gyre_sdk.client import Gyre
from gyre_sdk.errors import GyreError
from gyre_sdk.resources.serving import target

PATIENCE = 900
REPLY_TOKENS = 16
BATCH_TOKENS = 4
QUESTION = {"role": "user", "content": "{{call}}"}
SORTING = "You sort calls of {{company}}. Say which department takes care of it."
# Slug: title, and the system message of each version.
PROMPTS = {
    "triage": (
        "Sorts calls",
        [
            "You sort calls of {{company}}.",
            SORTING,
            f"{SORTING}\nBe brief, and kind.\nAnswer in {{{{language}}}}.",
        ],
    ),
    "greeting": ("Greets callers", ["Say hello in the name of {{company}}."]),
    "summary": ("Sums up a call", ["Sum up in one sentence.", "Sum up in two sentences, with what was promised."]),
    "translation": ("翻译来电", ["把下面的来电翻译成{{language}}。"]),
    "farewell": ("Ends a call", ["Thank the caller, and say what comes next."]),
}
VALUES = {"company": "City Hall", "language": "English"}
CALLS = (
    "The lamp in front of number 9 has been dark for a week.",
    "Nobody emptied the bins in Mill Street.",
    "Write to ada@example.com when the water is back.",
    "小区门口的路灯坏了三天了。",
    "Who do I ask for a parking permit?",
    "Call me at +44 20 7946 0958 about the noise.",
)
SESSIONS = ("morning", "noon")


def fill(gyre: Gyre, application: Gyre, deployment: str, data: str) -> None:
    """`deployment` is asked by `application`; `data`: the data set version that batches are about."""
    push_prompts(gyre)
    _turn_on_guardrails(gyre)
    _ask(application, deployment)
    _answer_batches(gyre, deployment, data)


def push_prompts(gyre: Gyre) -> None:
    for slug, (title, systems) in PROMPTS.items():
        for number, system in enumerate(systems, start=1):
            gyre.prompts.push(
                slug,
                [{"role": "system", "content": system}, QUESTION],
                {"temperature": 0, "max_tokens": REPLY_TOKENS},
                comment="" if number == 1 else f"says more ({number})",
                display_name=title,
                label="production" if number == 1 else "",
            )
    gyre.prompts.label("triage", "production", 2)
    gyre.prompts.label("triage", "canary", 3)


def experiment(gyre: Gyre, application: Gyre, slug: str, variants: tuple[str, str]) -> None:
    """Two variants that share a deployment's traffic, compared by the length of their answers."""
    gyre.deployments.create(slug, [target(each, 50) for each in variants], display_name=slug.capitalize())
    gyre.deployments.wait_ready(slug, timeout=PATIENCE)
    gyre.experiments.create(slug, "LENGTH", threshold=REPLY_TOKENS / 2)
    for number in range(12):
        _drain(application, slug, CALLS[number % len(CALLS)], session=f"caller {number}")


def _turn_on_guardrails(gyre: Gyre) -> None:
    gyre.traffic_policies.update(
        prompt_data="ACTION_MARK", injection="ACTION_FLAG", cache={"mode": "MODE_ALWAYS", "ttl": "3600s"}
    )


def _ask(application: Gyre, deployment: str) -> None:
    for number, call in enumerate((*CALLS, CALLS[0])):  # the first once more, for the cache
        _until_known(application, deployment, call, _prompt("triage", "2", call), SESSIONS[number % 2])
    _until_known(application, deployment, CALLS[0], _prompt("greeting", "production", CALLS[0]), SESSIONS[0])


def _prompt(slug: str, version: str, call: str) -> dict[str, Any]:
    variables = {"call": call, "company": VALUES["company"]}
    return {"id": slug, "version": version, "variables": variables}


def _until_known(application: Gyre, deployment: str, call: str, prompt: dict[str, Any], session: str) -> None:
    """A prompt comes to the gateway's workers a moment after it was made."""
    for _ in range(100):
        try:
            return _drain(application, deployment, "", session=session, prompt=prompt)
        except GyreError as error:
            if error.status != 404:
                raise
    raise TimeoutError(f"the gateway does not know the prompt {prompt['id']} for {call!r}")


def _drain(application: Gyre, deployment: str, text: str, session: str, **options: Any) -> None:
    turns = [{"role": "user", "content": text}] if text else []
    settings = {"max_tokens": REPLY_TOKENS, "temperature": 0, "user": session, "ignore_eos": True}
    for _ in application.chat(deployment, turns, **settings, **options):
        pass


def _answer_batches(gyre: Gyre, deployment: str, data: str) -> None:
    for made in list(_batches(gyre, deployment, data)):
        gyre.inference_batches.wait(made, timeout=PATIENCE, check=False)  # a model may have nothing to say


def _batches(gyre: Gyre, deployment: str, data: str) -> Iterator[str]:
    for number in range(1, 6):
        made = gyre.inference_batches.create(
            data, deployment, max_tokens=BATCH_TOKENS, result_dataset=f"answers-{number}", temperature=0
        )
        yield made.name
