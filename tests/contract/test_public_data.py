"""Files as they are published, imported unchanged through the API, and trained on for 20 steps.

GYRE_PUBLIC_DATA names a folder with LLaMA-Factory's alpaca_en_demo.json, alpaca_zh_demo.json and dpo_en_demo.json.
Without it the same is shown on files of the same three shapes that are written here.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gyre.dataset.v1.version_pb2 import Version
from gyre_sdk import messages
from gyre_sdk.client import Gyre

from tests.conftest import Running
from tests.tiny import tiny_base

PROJECT = "public-data"
PUBLISHED = {"alpaca_en_demo.json": 999, "alpaca_zh_demo.json": 1000, "dpo_en_demo.json": 300}  # rows
REASONS = {"EXACT_DUPLICATE", "EMPTY_CONTENT", "MISSING_FIELD", "NEAR_DUPLICATE_OF_HELD_OUT"}
STEPS = 20
TRAINING = {"max_steps": STEPS, "batch_size": 8, "lora_rank": 0, "max_length": 256}
PATIENCE = 600


@dataclass(frozen=True)
class Source:
    file: Path
    rows: list[dict[str, Any]]

    @property
    def dataset(self) -> str:
        return self.file.stem.replace("_", "-")


@pytest.fixture(scope="module")
def gyre(running: Running) -> Iterator[Gyre]:
    running.client().projects.create(PROJECT)
    with running.client(PROJECT) as client:
        yield client


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Source]:
    """By file name; what is not published is written."""
    given = os.environ.get("GYRE_PUBLIC_DATA")
    folder = Path(given) if given else tmp_path_factory.mktemp("public")
    if not given:
        for name, rows in (("alpaca_en", _alpaca_en()), ("alpaca_zh", _alpaca_zh()), ("dpo_en", _pairs())):
            (folder / f"{name}_demo.json").write_text(json.dumps(rows, ensure_ascii=False, indent=2), "utf-8")
    found = {name: Source(folder / name, json.loads((folder / name).read_text("utf-8"))) for name in PUBLISHED}
    assert not given or {name: len(source.rows) for name, source in found.items()} == PUBLISHED
    return found


@pytest.fixture(scope="module")
def versions(gyre: Gyre, sources: dict[str, Source]) -> dict[str, Version]:
    started = {
        name: gyre.datasets.import_file(source.file, source.dataset, "PREFERENCE" if "dpo" in name else "SFT").name
        for name, source in sources.items()
    }
    return {name: gyre.datasets.wait_version(version, timeout=PATIENCE) for name, version in started.items()}


@pytest.fixture(scope="module")
def base(gyre: Gyre, sources: dict[str, Source], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny random Llama whose tokenizer has seen some of each file."""
    lines = [json.dumps(row, ensure_ascii=False) for source in sources.values() for row in source.rows[:200]]
    return tiny_base(gyre, tmp_path_factory.mktemp("tiny"), lines)


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_row_is_accepted_or_refused_by_reason(
    gyre: Gyre, sources: dict[str, Source], versions: dict[str, Version], name: str
) -> None:
    version, total = versions[name], len(sources[name].rows)
    rejects = list(gyre.datasets.rejects(version.name))
    print(f"{name}: {version.row_count} accepted, {dict(Counter(reject.reason for reject in rejects))} of {total}")
    assert version.row_count + version.refused_count == total
    assert version.train_count + version.test_count == version.row_count == len(list(gyre.datasets.rows(version.name)))
    assert len(rejects) == version.refused_count and {reject.reason for reject in rejects} <= REASONS
    assert all(0 < reject.line <= total and reject.remedy for reject in rejects)


@pytest.mark.parametrize("name", ["alpaca_en_demo.json", "alpaca_zh_demo.json"])
def test_twenty_steps_of_sft_lower_the_loss(gyre: Gyre, versions: dict[str, Version], base: str, name: str) -> None:
    losses = _trained(gyre, "SFT", base, versions[name], "loss", learning_rate=2e-3)
    print(f"{name}: loss {losses[0]:.3f} → {losses[-1]:.3f}")
    assert losses[-1] < losses[0]


def test_twenty_steps_of_dpo_raise_the_margin(gyre: Gyre, versions: dict[str, Version], base: str) -> None:
    margins = _trained(gyre, "DPO", base, versions["dpo_en_demo.json"], "rewards/margins", learning_rate=2e-3)
    print(f"dpo_en_demo.json: margin {margins[0]:.3f} → {margins[-1]:.3f}; {[round(margin, 3) for margin in margins]}")
    first, last = margins[:5], margins[-5:]
    assert margins[0] == pytest.approx(0, abs=0.01)  # policy and reference are still the same
    assert margins[-1] > margins[0] and sum(last) > sum(first)


def _trained(gyre: Gyre, method: str, base: str, version: Version, metric: str, **settings: float) -> list[float]:
    """`metric` at each step of a run that took them all."""
    run = gyre.runs.create(
        method=method, base=base, datasets=[version.name], hyperparameters={**TRAINING, **settings}, seed=7
    )
    run = gyre.runs.wait(run.name, timeout=PATIENCE)
    assert messages.enum_name(run, "state") == "SUCCEEDED", run.failure_message
    assert (run.step, run.total_steps) == (STEPS, STEPS)
    points = {point.step: point.metrics[metric] for point in gyre.runs.metrics(run.name) if metric in point.metrics}
    assert sorted(points) == list(range(1, STEPS + 1))
    return [points[step] for step in sorted(points)]


def _alpaca_en() -> list[dict[str, str]]:
    """Two rows of it cannot be used: one says what another says, one has no answer."""
    places = ("harbour", "library", "market", "station", "museum", "theatre", "garden", "bridge", "tower", "school")
    questions = ("When does the {} open?", "Who built the {}?", "How do I get to the {}?", "Describe the {} at night.")
    rows = [
        {
            "instruction": question.format(place),
            "input": f"Asked by visitor {number} in week {7 * number % 53}." if number % 2 else "",
            "output": f"Gladly! Of the {place} the city keeps file {number}{place[::-1]}, in room {number % 9 + 1}.",
        }
        for number, (question, place) in enumerate((question, place) for question in questions for place in places)
    ]
    return [*rows, rows[3], {"instruction": "Say nothing.", "input": "", "output": ""}]


def _alpaca_zh() -> list[dict[str, str]]:
    places = ("图书馆", "火车站", "博物馆", "植物园", "体育场", "大剧院", "老城墙", "音乐厅", "游泳馆", "天文台")
    questions = ("{}几点开门？", "{}是谁设计的？", "怎么去{}最方便？", "请描述夜里的{}。")
    rows = [
        {
            "instruction": question.format(place),
            "input": f"第{number}位游客在第{7 * number % 53}周提问。" if number % 2 else "",
            "output": f"您好！关于{place}的第{number}号档案存放在{number % 9 + 1}号房间，请凭{place[::-1]}字样领取。",
        }
        for number, (question, place) in enumerate((question, place) for question in questions for place in places)
    ]
    return [*rows, rows[3]]


def _pairs() -> list[dict[str, Any]]:
    """Kind answers are chosen, curt ones rejected; every third conversation begins with a system turn."""
    pairs = []
    for number, row in enumerate(_alpaca_en()[:40]):
        system = [{"from": "system", "value": f"You are guide {number} of this city."}] if number % 3 == 0 else []
        asked = {"from": "human", "value": f"{row['instruction']} {row['input']}".strip()}
        pairs.append(
            {
                "conversations": [*system, asked],
                "chosen": {"from": "gpt", "value": row["output"]},
                "rejected": {"from": "gpt", "value": f"No. Look it up yourself, it is number {number}."},
            }
        )
    return [*pairs, pairs[5]]
