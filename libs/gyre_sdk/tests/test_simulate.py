"""`gyre simulate` from the command line to its exit code."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from gyre_kit.errors import Invalid
from gyre_sdk.cli.root import run

from services.gpu_scheduler.simulation import engine

JOBS = "job_id,submit_s,duration_s,gpus\na,0,10,2\nb,0,30,1\nc,20,10,1\n"
NODES = "node_id,gpus,flavor\nn,2,f\n"


@pytest.fixture
def trace(tmp_path: Path) -> list[str]:
    (tmp_path / "trace.csv").write_text(JOBS)
    (tmp_path / "nodes.csv").write_text(NODES)
    return ["--trace", str(tmp_path / "trace.csv"), "--nodes", str(tmp_path / "nodes.csv")]


def test_json_has_the_figures_that_were_promised(trace: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", *trace, "--policy", "fifo", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    promised = [
        "jobs",
        "mean_jct_s",
        "p50_jct_s",
        "p99_jct_s",
        "mean_wait_s",
        "max_jct_s",
        "makespan_s",
        "utilisation",
        "preemptions",
    ]
    assert set(promised) <= set(report)
    assert (report["jobs"], report["mean_jct_s"], report["makespan_s"]) == (3, 20, 40)


def test_two_runs_print_the_same_bytes(trace: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    printed = [(run(["simulate", *trace, "--json"]), capsys.readouterr().out) for _ in range(2)]
    assert printed[0] == printed[1]


def test_policies_stand_side_by_side_with_ratios_to_the_first(
    trace: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["simulate", *trace, "--compare", "fifo,srtf"]) == 0
    out = capsys.readouterr().out
    assert "FIFO" in out and "SRTF" in out and "(1.00 ×)" in out and "Simulated" in out
    assert run(["simulate", *trace, "--compare", "fifo,srtf", "--json"]) == 0
    assert [each["policy"] for each in json.loads(capsys.readouterr().out)["policies"]] == ["fifo", "srtf"]


def test_half_a_trace_is_half_its_jobs(trace: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", *trace, "--second-half", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["jobs"] == 2


@pytest.mark.parametrize(("more", "ends"), [([], 45), (["--no-checkpoints"], 55)])
def test_who_is_stopped_goes_on_or_begins_anew(
    more: list[str], ends: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`long` is stopped at 10 for `urgent`, which takes 10 of its own, and pays 5 for coming back."""
    trace, quotas = tmp_path / "trace.csv", tmp_path / "quotas.csv"
    trace.write_text("job_id,submit_s,duration_s,gpus,cpus,queue,priority\nlong,0,30,0,1,q,0\nurgent,10,10,0,1,q,9\n")
    quotas.write_text("queue,cohort,flavor,resource,nominal,within_cluster_queue\nq,,f,cpu,1,LowerPriority\n")
    given = ["--trace", str(trace), "--quotas", str(quotas), "--policy", "best-effort", "--resume-cost-s", "5"]
    assert run(["simulate", *given, *more, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["preemptions"], report["makespan_s"]) == (1, ends)


def test_charts_and_what_became_of_each_job_are_written(trace: list[str], tmp_path: Path) -> None:
    chart, out = tmp_path / "chart.svg", tmp_path / "jobs.csv"
    assert run(["simulate", *trace, "--policy", "fifo", "--chart", str(chart), "--out", str(out)]) == 0
    assert chart.read_text("utf-8").startswith("<svg")
    rows = list(csv.DictReader(out.open()))
    assert [(row["job_id"], row["start_s"], row["end_s"], row["wait_s"]) for row in rows] == [
        ("a", "0", "10", "0"),
        ("b", "10", "40", "10"),
        ("c", "20", "30", "0"),
    ]


def test_a_bad_trace_ends_with_2_and_says_where_and_what_to_do(
    trace: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "trace.csv").write_text(JOBS + "d,30,nan,1\n")
    assert run(["simulate", *trace]) == 2
    told = capsys.readouterr().err
    assert "trace.csv, line 5, column duration_s: 'nan' is no finite number." in told and "Do this:" in told
    assert run(["simulate", *trace, "--json"]) == 2
    assert json.loads(capsys.readouterr().err)["error"]["reason"] == "BAD_TRACE"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--policy", "fifo", "--compare", "srtf"], "not both"),
        (["--compare", "fifo,magic"], "'magic' is no policy"),
        (["--policy", "magic"], "magic"),
        (["--scenario", __file__], "--scenario alone"),
        (["--resume-cost-s", "nan"], "no finite number"),
        (["--resume-cost-s", "-1"], "-1"),
        (["--chart", "chart.png"], ".svg"),
        (["--out", "nowhere/jobs.csv"], "there is no folder"),
    ],
)
def test_a_bad_option_ends_with_2(
    trace: list[str], more: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["simulate", *trace, *more]) == 2
    assert says in capsys.readouterr().err


def test_something_has_to_bound_what_runs(trace: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", *trace[:2]]) == 2
    assert "--nodes" in capsys.readouterr().err
    assert run(["simulate"]) == 2


def scenario(final: dict[str, Any]) -> str:
    """Two cards, and two jobs that want them both: the first has them."""
    quota = {"flavor": "f", "resource": "gpu", "nominal": 2}
    jobs = [{"op": "submit", "workload": name, "queue": "q", "request": {"gpu": 2}, "runtime_s": None} for name in "ab"]
    given = {
        "schema": "schedref/quota-scenario/1",
        "name": "two-jobs",
        "mode": {"fair_sharing": False},
        "cluster_queues": [{"name": "q", "quotas": [quota]}],
        "events": [{"op": "batch", "events": jobs}, {"op": "settle"}],
        "final": final,
    }
    return json.dumps(given)


def test_a_scenario_ends_with_0_or_1_as_it_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "s.json"
    file.write_text(scenario({"admitted": ["a"], "pending": ["b"]}))
    assert run(["simulate", "--scenario", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["as_expected"]
    file.write_text(scenario({"admitted": ["b"]}))
    assert run(["simulate", "--scenario", str(file)]) == 1
    assert "two-jobs ends otherwise than expected" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["[", "{}", '{"schema": "schedref/quota-scenario/1"}'])
def test_what_is_no_scenario_ends_with_2(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "s.json").write_text(text)
    assert run(["simulate", "--scenario", str(tmp_path / "s.json"), "--json"]) == 2
    assert json.loads(capsys.readouterr().err)["error"]["reason"] == "BAD_SCENARIO"


def test_what_a_replay_refuses_ends_with_2(trace: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    class NoSuchThing(Invalid):
        """It cannot be done."""

    def refuses(*_: object) -> None:
        raise NoSuchThing

    monkeypatch.setattr(engine, "replay", refuses)
    assert run(["simulate", *trace]) == 2


def test_an_imported_trace_can_be_replayed_and_is_not_overwritten_unasked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = tmp_path / "jobs.txt"
    jobs.write_text("JobID|Submit|ElapsedRaw|State|AllocTRES\n1|17|60|COMPLETED|gres/gpu=1\n2|18|0|FAILED|\n")
    out = tmp_path / "slurm"
    assert run(["simulate", "import", "sacct", str(jobs), "--out", str(out)]) == 0
    assert "1 jobs" in (told := capsys.readouterr().out) and "Left out: 1 (never ran)." in told
    assert run(["simulate", "import", "sacct", str(jobs), "--out", str(out)]) == 2
    assert "--force" in capsys.readouterr().err
    (tmp_path / "nodes.csv").write_text(NODES)
    assert run(["simulate", "--trace", str(out / "trace.csv"), "--nodes", str(tmp_path / "nodes.csv")]) == 0


def test_a_file_that_cannot_be_imported_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("[")
    assert run(["simulate", "import", "philly", str(tmp_path / "log"), "--out", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()


def test_no_hash_of_python_has_a_say_in_the_output(trace: list[str], tmp_path: Path) -> None:
    code = "import sys; from gyre_sdk.cli.root import run; sys.exit(run(sys.argv[1:]))"
    outputs = set()
    for seed in ("1", "2"):
        chart, out = tmp_path / f"{seed}.html", tmp_path / f"{seed}.csv"
        words = ["simulate", *trace, "--compare", "fifo,srtf", "--json", "--chart", str(chart), "--out", str(out)]
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run([sys.executable, "-c", code, *words], env=environment, capture_output=True, check=True)
        outputs.add((done.stdout, chart.read_bytes(), out.read_bytes()))
    assert len(outputs) == 1
