"""Licences on their way down, a policy that refuses, cards and lineage as of a time: a real platform, a tiny model."""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from gyre.dataset.v1.version_pb2 import SplitSettings
from gyre_sdk import messages
from gyre_sdk.client import Gyre
from gyre_sdk.errors import GyreError
from gyre_sdk.resources.serving import target
from gyre_trainers.testing import texts_of, tiny_llama

from tests.conftest import Running

HOTLINE = Path(__file__).resolve().parents[2] / "examples" / "hotline"
PROJECT = "licences"
README = "---\nlicense: cc-by-nc-4.0\n---\n# Tiny\n\n## Uses\n\nNone.\n"


@dataclass(frozen=True)
class Made:
    data: str
    version: str
    plain: str  # variant that came from the base alone
    calibrated: str  # variant that came from base and data


@pytest.fixture(scope="module")
def gyre(running: Running) -> Gyre:
    running.client().projects.create(PROJECT, consent_to_keep=True)
    return running.client(PROJECT)


@pytest.fixture(scope="module")
def made(gyre: Gyre, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("tiny")
    lines = (HOTLINE / "hotline.en.jsonl").read_text("utf-8").splitlines()[:24]
    file = folder / "rows.jsonl"
    file.write_text("\n".join(lines) + "\n", "utf-8")
    split = SplitSettings(test_fraction=0.25)
    data = gyre.datasets.import_file(file, "hotline", "SFT", licence="CC-BY-SA-4.0", origin="a wiki", split=split)
    version = gyre.models.import_as("tiny", gyre.datasets.upload(_archive(folder, lines)).uri)
    gyre.models.wait_version(version.name, timeout=300)
    gyre.datasets.wait_version(data.name, timeout=180)
    variants = [gyre.models.create_variant(version.name, *what) for what in (("Q8_0",), ("Q4_K_M", data.name))]
    plain, calibrated = [gyre.models.wait_variant(variant.name, timeout=300).name for variant in variants]
    return Made(data.name, version.name, plain, calibrated)


def _archive(folder: Path, lines: list[str]) -> Path:
    model = tiny_llama(folder / "model", texts_of(json.loads(line) for line in lines), hidden=256)
    archive = folder / "tiny.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("README.md", README)
        for path in model.iterdir():
            opened.write(path, path.name)
    return archive


def test_a_variant_stands_under_the_terms_of_its_base_and_of_its_data_each_with_its_reason(
    gyre: Gyre, made: Made
) -> None:
    assert gyre.models.version(made.version).licence == "cc-by-nc-4.0"
    assert _terms(gyre, made.calibrated) == {
        ("ATTRIBUTION", made.version),
        ("NON_COMMERCIAL", made.version),
        ("ATTRIBUTION", made.data),
        ("SHARE_ALIKE", made.data),
    }
    assert _terms(gyre, made.plain) == {("ATTRIBUTION", made.version), ("NON_COMMERCIAL", made.version)}


def test_another_projects_terms_policy_and_card_are_not_found(gyre: Gyre, running: Running, made: Made) -> None:
    running.client().projects.create("strangers")
    key = running.client("strangers").keys.create("ADMIN", "stranger").secret
    stranger = running.client(PROJECT, key)
    asked: list[Callable[[], object]] = [
        lambda: stranger.licences.terms(made.version),
        lambda: running.client("strangers", key).licences.terms(made.version),
        lambda: stranger.licences.policy(),
        lambda: stranger.models.card(made.version),
        lambda: stranger.models.edit_card(made.version, "## Mine\n\nx"),
        lambda: stranger.licences.update_policy(["NAMING"]),
    ]
    for ask in asked:
        with pytest.raises(GyreError) as refused:
            ask()
        assert refused.value.status == 404
    with pytest.raises(GyreError) as refused:
        running.client(PROJECT, gyre.keys.create("ENGINEER", "e").secret).licences.update_policy(["NAMING"])
    assert refused.value.status == 403


def test_the_policy_refuses_what_came_from_the_refused_and_says_from_where_until_it_is_put_right(
    gyre: Gyre, made: Made
) -> None:
    gyre.licences.update_policy(["share_alike"], refuse_unknown=True)
    with pytest.raises(GyreError) as refused:
        gyre.deployments.create("refused", [target(made.calibrated)])
    assert (refused.value.reason, refused.value.status) == ("LICENCE_REFUSED", 412)
    assert f"{made.data} is under CC-BY-SA-4.0" in str(refused.value)

    gyre.models.move_alias("tiny", "champion", made.version, variant=made.plain)
    deployment = gyre.deployments.create("tiny", alias=f"projects/{PROJECT}/models/tiny/aliases/champion")
    gyre.deployments.wait_ready(deployment.name, timeout=300)
    before = datetime.now(UTC)
    with pytest.raises(GyreError) as refused:
        gyre.deployments.shift("tiny", [target(made.calibrated)])
    assert refused.value.reason == "LICENCE_REFUSED"

    gyre.models.move_alias("tiny", "champion", made.version, variant=made.calibrated)
    rollout = _eventually(
        lambda: next((it for it in gyre.deployments.rollouts("tiny").items if it.failure_reason), None)
    )
    assert (rollout.failure_reason, messages.enum_name(rollout, "state")) == ("LICENCE_REFUSED", "FAILED")
    assert _served(gyre, deployment.name) == {made.plain}

    gyre.datasets.update("hotline", licence="CC0-1.0")
    _eventually(lambda: made.data not in {name for _, name in _terms(gyre, made.calibrated)})
    gyre.deployments.shift("tiny", [target(made.calibrated)])
    _eventually(lambda: _served(gyre, deployment.name) == {made.calibrated})
    assert _served(gyre, deployment.name, before) == {made.plain}
    with pytest.raises(GyreError) as unknown:
        gyre.models.lineage(deployment.name, time=datetime(2020, 1, 1, tzinfo=UTC))
    assert unknown.value.status == 404


def test_an_answer_leads_back_to_the_data_and_the_deployment_says_how_many_it_gave(
    gyre: Gyre, running: Running, made: Made
) -> None:
    application = running.client(PROJECT, gyre.keys.create("VIEWER", "application").secret)
    words = {"max_tokens": 3, "ignore_eos": True}
    pieces = list(application.chat("tiny", [{"role": "user", "content": "a lamp"}], **words))
    answer = f"projects/{PROJECT}/completions/{pieces[-1].completion}"
    back = _eventually(lambda: _found(gyre, answer))
    assert {made.calibrated, made.version, made.data} <= {node.name for node in back.nodes}
    crowds = {node.kind: node for node in back.nodes if node.count}
    assert crowds["rows"].list_path == f"/{made.data}/rows"
    onward = gyre.models.lineage(f"projects/{PROJECT}/deployments/tiny", direction="DOWNSTREAM")
    assert [(node.kind, node.count) for node in onward.nodes if node.count] == [("completions", 1)]


def test_a_card_has_the_facts_and_keeps_what_people_wrote_through_a_file(
    gyre: Gyre, running: Running, made: Made, tmp_path: Path
) -> None:
    file = tmp_path / "card.md"
    environment = ("--project", PROJECT)
    assert running.command("models", "card", "tiny@1", "--out", str(file), *environment).returncode == 0
    text = file.read_text("utf-8")
    assert text.startswith("---\nlicense: cc-by-nc-4.0\n")
    assert "| non commercial | [cc-by-nc-4.0]" in text
    assert "It has not been evaluated here." in text
    file.write_text(text.replace("## Model\n", "## Intended use\n\nTests alone.\n\n## Model\n"), "utf-8")
    assert running.command("models", "card", "tiny@1", "--edit", str(file), *environment).returncode == 0

    card = gyre.models.card("tiny@1")
    assert [section.title for section in card.sections if not section.generated] == ["Intended use"]
    assert gyre.models.edit_card("tiny@1", card.markdown, card.etag).markdown == card.markdown
    gyre.models.edit_card("tiny@1", "## Intended use\n\nNone.\n")
    with pytest.raises(GyreError) as stale:
        gyre.models.edit_card("tiny@1", card.markdown, card.etag)
    assert stale.value.reason == "ETAG_MISMATCH"


def _terms(gyre: Gyre, name: str) -> set[tuple[str, str]]:
    return {(messages.enum_name(term, "term"), term.because_of) for term in gyre.licences.terms(name).terms}


def _served(gyre: Gyre, deployment: str, at: datetime | None = None) -> set[str]:
    edges = _eventually(lambda: gyre.models.lineage(deployment, "UPSTREAM", 1, at)).edges
    return {edge.source for edge in edges if edge.relation == "served_by"}


def _found(gyre: Gyre, name: str) -> Any:
    found = gyre.models.lineage(name, direction="UPSTREAM", depth=16)
    return found if any(node.kind == "dataset_version" for node in found.nodes) else None


def _eventually(check: Callable[[], Any], seconds: float = 90) -> Any:
    """What `check` answers as soon as it is something; what is not found yet is waited for."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if result := check():
                return result
        except GyreError as error:
            if not error.not_found or time.monotonic() > deadline:
                raise
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.2)
