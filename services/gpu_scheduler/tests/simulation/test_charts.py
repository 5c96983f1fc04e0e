"""Charts are well-formed, complete in themselves, and the same for the same replays."""

from __future__ import annotations

import xml.etree.ElementTree as xml
from pathlib import Path

import pytest

from services.gpu_scheduler.simulation.charts import write_chart
from services.gpu_scheduler.simulation.model import Job, Node, Options, Replay, Trace
from services.gpu_scheduler.tests.simulation import reference_fifo

TRACE = Trace([Job(str(i), i * 60.0, 600, 1 + i % 2) for i in range(40)], [Node("n", 4, "f")])
SVG = "{http://www.w3.org/2000/svg}"


def replays(*names: str, trace: Trace = TRACE) -> list[Replay]:
    return [reference_fifo.replay(trace, name, Options()) for name in names]


def test_a_picture_has_four_panels_and_a_line_for_each_policy_in_each(tmp_path: Path) -> None:
    write_chart(tmp_path / "c.svg", replays("fifo", "las<1>"), TRACE)
    tree = xml.parse(tmp_path / "c.svg").getroot()
    texts = [element.text for element in tree.iter(f"{SVG}text")]
    assert {"Jobs that wait", "Cards in use", "Completion time of jobs", "Wait of jobs"} <= set(texts)
    assert {"fifo (simulated)", "las<1> (simulated)", "jobs", "cards", "% of jobs", "all 4"} <= set(texts)
    assert len(list(tree.iter(f"{SVG}path"))) == 8
    assert "NaN" not in (tmp_path / "c.svg").read_text().replace("nan", "NaN")


def test_a_page_has_the_picture_and_its_numbers_and_loads_nothing(tmp_path: Path) -> None:
    write_chart(tmp_path / "c.html", replays("fifo"), TRACE)
    text = (tmp_path / "c.html").read_text("utf-8")
    assert "<svg" in text and "mean_jct_s" in text
    assert not [word for word in ("<script", "src=", "href=", "url(") if word in text]


def test_the_same_replays_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        write_chart(tmp_path / name, replays("fifo"), TRACE)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize(
    "jobs", [[], [Job("a", 0, 0, 1)], [Job("a", 0, 10, 99)]], ids=["none", "no time", "could never fit"]
)
def test_a_replay_with_next_to_nothing_in_it_is_drawn_too(tmp_path: Path, jobs: list[Job]) -> None:
    trace = Trace(jobs, TRACE.nodes)
    write_chart(tmp_path / "c.svg", replays("fifo", trace=trace), trace)
    xml.parse(tmp_path / "c.svg")
