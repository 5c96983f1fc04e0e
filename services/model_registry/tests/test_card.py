from __future__ import annotations

from typing import Any

import pytest
import yaml
from gyre.evaluation.v1.evaluation_pb2 import Evaluation, SliceScore
from gyre.training_scheduler.v1.run_pb2 import Method, Run, RunSpec
from gyre_kit.testing import PROJECT, ManualClock

from services.model_registry import card
from services.model_registry.card import Facts, Section
from services.model_registry.licences import Stated, inherit
from services.model_registry.models import KnownData, Version

P = f"projects/{PROJECT}"
MODEL, DATA, BASE = f"{P}/models/hotline", f"{P}/datasets/d/versions/1", f"{P}/models/llama/versions/1"
NAME = f"{MODEL}/versions/2"


def version(name: str, **fields: Any) -> Version:
    return Version(name=name, project=PROJECT, model=name.split("/versions")[0], number=1, state="READY", **fields)


def facts(**given: Any) -> Facts:
    stated = {DATA: Stated("CC-BY-SA-4.0"), BASE: Stated("llama3.1")}
    now = ManualClock().now()
    run = Run(step=12, cost_microusd=34_000, spec=RunSpec(method=Method.METHOD_SFT, seed=7))
    run.spec.hyperparameters.max_length = 128
    scores = [
        SliceScore(metric="exact", value=0.8, lower=0.7, upper=0.9, count=40),
        SliceScore(metric="exact", slice="parks", value=0.4, lower=0.2, upper=0.6, count=12),
        SliceScore(metric="exact", slice="roads", value=0.9, lower=0.8, upper=1.0, count=28),
    ]
    known: dict[str, Any] = {
        "version": version(NAME, base_version=BASE, display_name="Hotline | two"),
        "licence": "llama3.1",
        "terms": inherit(NAME, {NAME: [DATA, BASE]}, stated),
        "data": [
            KnownData(name=DATA, project=PROJECT, licence="CC-BY-SA-4.0", row_count=60, time=now, licence_time=now)
        ],
        "base": version(BASE, source="hf://meta-llama/Llama-3.1-8B@main"),
        "run": run,
        "evaluations": [Evaluation(variant=f"{NAME}/variants/q8-0", suite=f"{P}/suites/held-out", scores=scores)],
    }
    return Facts(**(known | given))


def test_a_card_says_what_is_known_and_leaves_the_rest_out() -> None:
    titles = [section.title for section in card.sections_of(facts())]
    assert titles == ["Model", "Data", "Recipe", "Scores", "Limits", "Licence and terms", "Cost"]
    bare = [section.title for section in card.sections_of(facts(run=None, evaluations=[], data=[]))]
    assert bare == ["Model", "Limits", "Licence and terms"]


def test_the_limits_name_the_weakest_slice() -> None:
    limits = next(section.body for section in card.sections_of(facts()) if section.title == "Limits")
    assert "Weakest on “parks” of `held-out`: exact 0.400 (0.200 to 0.600) on 12 rows." in limits
    assert "at most 128 tokens" in limits


def test_the_front_matter_is_what_the_hub_reads() -> None:
    front = yaml.safe_load(card.markdown_of(facts()).split("---\n")[1])
    assert (front["license"], front["base_model"]) == ("llama3.1", "meta-llama/Llama-3.1-8B")
    assert front["datasets"] == [DATA]
    assert front["model-index"][0]["results"][0]["metrics"] == [{"type": "exact", "value": 0.8, "name": "q8-0"}]
    other = yaml.safe_load(card.markdown_of(facts(licence="house: rules")).split("---\n")[1])
    assert (other["license"], other["license_name"]) == ("other", "house: rules")


@pytest.mark.parametrize(
    "written",
    [
        [],
        [Section("Intended use", "Tests alone.\n\n### More\n\nYes.")],
        [Section("用途", "仅供测试"), Section("Code", "```sh\n## no heading\n# nor this\n```")],
    ],
)
def test_what_people_wrote_comes_back_from_an_exported_card_and_nothing_else(written: list[Section]) -> None:
    readme = "---\nlicense: mit\n---\n# Base\n\n## Uses\n\n```\n## code\n```\n"
    shown = facts(written=written, version=version(NAME, card=readme))
    assert card.written_in(card.markdown_of(shown)) == written
    assert card.written_in(card.markdown_of(shown).replace("\n", "\r\n")) == written


@pytest.mark.parametrize(
    ("readme", "licence"),
    [
        ("---\nlicense: apache-2.0\n---\n# M", "apache-2.0"),
        ("---\r\nlicense: other\r\nlicense_name: llama3.1\r\n---\r\n", "llama3.1"),
        ("---\nlicense: other\n---\n", "other"),
        ("---\nlicense: [mit, cc-by-4.0]\n---\n", "mit AND cc-by-4.0"),
        ("# No front matter\nlicense: mit\n", ""),
        ("---\nlicense: [\n---\n", ""),
        ("---\n- a list\n---\n", ""),
        ("---\na: &a [x, x]\nb: &b [*a, *a]\nlicense: [*b, *b]\n---\n", ""),
    ],
)
def test_the_licence_is_read_from_a_readme_that_says_it(readme: str, licence: str) -> None:
    assert card.licence_of(readme) == licence
