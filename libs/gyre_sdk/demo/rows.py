"""Data in: upload, validate, profile, split; every refused row with its reason."""

from __future__ import annotations

import json
from pathlib import Path

from gyre.dataset.v1.version_pb2 import MixIn, SplitSettings, Version

from gyre_sdk.cli.output import size
from gyre_sdk.cli.progress import by_state, uploading
from gyre_sdk.demo.story import Story

SHOWN_REJECTS = 8


def import_rows(story: Story) -> None:
    plan, show = story.plan, story.show
    show.step(f"Import {plan.data.name}, check every row, split without near-duplicates across the split")
    main = _import(story, plan.slug, plan.data, plan.test_fraction, plan.language)
    _tell(story, main)
    story.suites.append(_suite(story, f"{plan.slug}-held-out", main, plan.held_out_rows))
    story.taught = _taught(story, main)
    if plan.new_data is not None:
        show.say(f"and {plan.new_data.name}, about what the first lap is never taught ({plan.new_slice})")
        new = _import(story, f"{plan.slug}-{plan.new_slice}", plan.new_data, plan.new_test_fraction, plan.language)
        _tell(story, new)
        story.suites.append(_suite(story, f"{plan.slug}-{plan.new_slice}", new, plan.held_out_rows))
        kept_back = list(story.gyre.datasets.rows(new.name, split="TRAIN"))
    else:
        taught = {row.id for row in story.gyre.datasets.rows(story.taught, split="TRAIN")}
        kept_back = [row for row in story.gyre.datasets.rows(main.name, split="TRAIN") if row.id not in taught]
    story.to_ask = kept_back[: plan.corrections]
    if plan.reported_data is not None:
        show.say(f"and {plan.reported_data.name}, the Chinese sister set: its scores are reported, not gated")
        sister = _import(story, f"{plan.slug}-zh", plan.reported_data, plan.test_fraction, "zh")
        _tell(story, sister)
        story.reported_suites.append(_suite(story, f"{plan.slug}-zh", sister, plan.reported_rows))


def _import(story: Story, dataset: str, file: Path, test_fraction: float, language: str) -> Version:
    plan, datasets = story.plan, story.gyre.datasets
    split = SplitSettings(test_fraction=test_fraction, seed=plan.seed)
    with uploading(file) as progress:
        version = datasets.import_file(
            str(file),
            dataset,
            "SFT",
            origin=plan.origin,
            licence=plan.licence,
            language=language,
            split=split,
            on_progress=progress,
        )
    with story.show.watching(by_state) as watching:
        return datasets.wait_version(version.name, on_update=watching)


def _tell(story: Story, version: Version) -> None:
    show = story.show
    show.say(
        f"{version.row_count} rows accepted: {version.train_count} to train on, {version.test_count} held out; "
        f"{version.refused_count} refused; {size(version.size_bytes)}; digest {version.digest[:19]}…"
    )
    for number, reject in enumerate(story.gyre.datasets.rejects(version.name)):
        if number == SHOWN_REJECTS:
            show.warn(f"… and {version.refused_count - SHOWN_REJECTS} more: gyre datasets rejects {version.name}")
            return
        show.warn(f"line {reject.line} {reject.field or '(row)'}: {reject.reason}. {reject.remedy}")


def _taught(story: Story, main: Version) -> str:
    """The version that lap 1 trains on: all train rows, or so many of them, drawn by the seed."""
    rows = story.plan.train_rows
    if not rows or rows >= main.train_count:
        return main.name
    dataset = main.name.split("/versions/")[0]
    mix = [MixIn(version=main.name, max_rows=rows)]
    split = SplitSettings(test_fraction=0.0, seed=story.plan.seed)
    version = story.gyre.datasets.create_version(dataset, mix_in=mix, split=split, display_name="taught in lap 1")
    return story.gyre.datasets.wait_version(version.name).name


def _suite(story: Story, slug: str, version: Version, max_rows: int) -> str:
    plan = story.plan
    suite = story.gyre.suites.create(slug, version.name, plan.scorer, max_tokens=plan.max_tokens, max_rows=max_rows)
    return suite.name


def pretty(answer: str) -> str:
    """One line of an answer for the terminal."""
    try:
        return json.dumps(json.loads(answer), ensure_ascii=False)
    except ValueError:
        return " ".join(answer.split())[:110]
