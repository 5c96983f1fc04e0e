"""A trace's files are read strictly, and every refusal says where, what and what to do."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from services.gpu_scheduler.simulation.model import Job, Node, Quota, Speeds, Trace
from services.gpu_scheduler.simulation.tables import BadTrace
from services.gpu_scheduler.simulation.traces import half, read_trace, write_trace

HEADER = "job_id,submit_s,duration_s,gpus,cpus,gpu_milli,model_type,flavors,queue,user,priority\n"
QUOTA_HEADER = "queue,cohort,flavor,resource,nominal,borrowing_limit,lending_limit,reclaim_within_cohort\n"


def written(folder: Path, text: str | bytes, name: str = "trace.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(path: Path, **others: Path) -> BadTrace:
    with pytest.raises(BadTrace) as caught:
        read_trace(path, **others)
    assert caught.value.metadata["remedy"]
    return caught.value


def test_a_line_of_every_column_is_read_as_it_is_meant(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, HEADER + "a,1.5,60,1,0.5,250,resnet,v100|k80,research,ann,-3\n"))
    assert trace.jobs == [Job("a", 1.5, 60, 1, 500, 250, "resnet", ("v100", "k80"), "research", "ann", -3)]


def test_what_is_blank_is_unknown(tmp_path: Path) -> None:
    assert read_trace(written(tmp_path, HEADER + "a,0,60,2,,,,,,,\n")).jobs == [Job("a", 0, 60, 2)]


def test_jobs_come_by_submission_and_those_of_one_moment_as_they_stood(tmp_path: Path) -> None:
    rows = "c,9,1,1\na,5,1,1\nb,5,1,1\n"
    jobs = read_trace(written(tmp_path, "job_id,submit_s,duration_s,gpus\n" + rows)).jobs
    assert [job.id for job in jobs] == ["a", "b", "c"]


@pytest.mark.parametrize("given", [b"\xef\xbb\xbf" + HEADER.encode(), HEADER.replace("\n", "\r\n").encode()])
def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path: Path, given: bytes) -> None:
    end = b"\r\n" if b"\r" in given else b"\n"
    (job,) = read_trace(written(tmp_path, given + b"a,0,1,1,,,,,,,7" + end)).jobs
    assert (job.id, job.priority) == ("a", 7)


def test_a_gzipped_trace_is_told_by_its_first_bytes(tmp_path: Path) -> None:
    path = written(tmp_path, gzip.compress((HEADER + "a,0,1,1,,,,,,,\n").encode()), "trace.csv")
    assert len(read_trace(path).jobs) == 1


@pytest.mark.parametrize(
    ("row", "line", "column", "says"),
    [
        ("a,x,1,1,,,,,,,", 3, "submit_s", "no number"),
        ("a,-1,1,1,,,,,,,", 3, "submit_s", "out of range"),
        ("a,0,nan,1,,,,,,,", 3, "duration_s", "no finite number"),
        ("a,0,inf,1,,,,,,,", 3, "duration_s", "no finite number"),
        ("a,0,1e300,1,,,,,,,", 3, "duration_s", "out of range"),
        ("a,0,,1,,,,,,,", 3, "duration_s", "blank"),
        ("a,0,1,1.5,,,,,,,", 3, "gpus", "no whole number"),
        ("a,0,1,-1,,,,,,,", 3, "gpus", "out of range"),
        ("a,0,1,2,,500,,,,,", 3, "gpu_milli", "500 thousandths"),
        ("a,0,1,1,,1001,,,,,", 3, "gpu_milli", "1001 thousandths"),
        ("a,0,1,1,,0,,,,,", 3, "gpu_milli", "out of range"),
        (",0,1,1,,,,,,,", 3, "job_id", "blank"),
        ("first,0,1,1,,,,,,,", 3, "job_id", "on line 2 already"),
        ("a,0,1,1,,,,,,,high", 3, "priority", "no number"),
        ("a,0,1,1,,,,,,,1,2", 3, "", "too many"),
        ("a,0,1,1", 3, "", "too few"),
    ],
)
def test_a_bad_cell_is_refused_where_it_stands(tmp_path: Path, row: str, line: int, column: str, says: str) -> None:
    error = refusal(written(tmp_path, f"{HEADER}first,0,1,1,,,,,,,\n{row}\n"))
    assert (error.metadata["file"], error.metadata["line"], error.metadata["column"]) == (
        "trace.csv",
        str(line),
        column,
    )
    assert says in error.message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "it is empty"),
        (HEADER.encode(), "it has no job"),
        (b"job_id,submit_s,gpus\na,0,1\n", "column duration_s is missing"),
        (b"job_id,submit_s,duration_s,gpus,gpus\na,0,1,1,1\n", "there twice"),
        (b"job_id,submit_s,duration_s,gpus,prioritys\na,0,1,1,1\n", "'prioritys' is not known"),
        (HEADER.encode() + b"a\xff,0,1,1,,,,,,,\n", "line 2: byte 2 of the line, 0xff, is not UTF-8"),
        (HEADER.encode("utf-16"), "is not UTF-8"),
        (HEADER.encode() + b'"a,0,1,1,,,,,,,\n', "unexpected end"),
        (gzip.compress(HEADER.encode())[:-9], "it cannot be read to its end"),
        (HEADER.encode() + b"a" * (2 << 20), "more than 1 MiB"),
    ],
)
def test_a_file_that_is_no_trace_is_refused(tmp_path: Path, text: bytes, says: str) -> None:
    assert says in refusal(written(tmp_path, text)).message


def test_columns_that_nobody_asked_for_are_passed_over(tmp_path: Path) -> None:
    assert len(read_trace(written(tmp_path, "job_id,submit_s,duration_s,gpus,note\na,0,1,1,hm\n")).jobs) == 1


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "none.csv").message


def test_a_flavor_that_no_file_knows_is_refused(tmp_path: Path) -> None:
    nodes = written(tmp_path, "node_id,gpus,flavor\nn0,4,v100\n", "nodes.csv")
    assert "'a100'" in refusal(written(tmp_path, HEADER + "a,0,1,1,,,,a100,,,\n"), nodes=nodes).message
    assert len(read_trace(written(tmp_path, HEADER + "a,0,1,1,,,,a100|v100,,,\n"), nodes).jobs) == 1


def test_a_queue_without_quota_is_refused(tmp_path: Path) -> None:
    quotas = written(tmp_path, QUOTA_HEADER + "q,,rf,gpu,4,,,\n", "quotas.csv")
    error = refusal(written(tmp_path, HEADER + "a,0,1,1,,,,,other,,\n"), quotas=quotas)
    assert (error.metadata["column"], "'other'" in error.message) == ("queue", True)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("q,,rf,gpu,4,,,Sometimes", "'Sometimes' is not known"),
        ("q,,rf,tpu,4,,,", "'tpu' is not known"),
        ("q,,rf,gpu,4,,5,", "more than nominal"),
        ("q,,rf,gpu,,,,", "blank"),
        ("p,other,rf,cpu,4,,,", "another cohort"),
        ("p,,rf,gpu,4,,,", "there twice"),
    ],
)
def test_a_bad_quota_is_refused(tmp_path: Path, row: str, says: str) -> None:
    quotas = written(tmp_path, f"{QUOTA_HEADER}p,,rf,gpu,4,,,\n{row}\n", "quotas.csv")
    error = refusal(written(tmp_path, HEADER + "a,0,1,1,,,,,p,,\n"), quotas=quotas)
    assert says in error.message and error.metadata["line"] == "3"


def test_a_quota_of_a_flavor_that_no_node_has_is_refused(tmp_path: Path) -> None:
    nodes = written(tmp_path, "node_id,gpus,flavor\nn0,4,v100\n", "nodes.csv")
    quotas = written(tmp_path, QUOTA_HEADER + "q,,a100,gpu,4,,,\n", "quotas.csv")
    error = refusal(written(tmp_path, HEADER + "a,0,1,1,,,,,q,,\n"), nodes=nodes, quotas=quotas)
    assert error.metadata["file"] == "quotas.csv"


def test_a_node_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    nodes = written(tmp_path, "node_id,gpus,flavor\nn0,4,v100\nn0,4,v100\n", "nodes.csv")
    assert "there twice" in refusal(written(tmp_path, HEADER + "a,0,1,1,,,,,,,\n"), nodes=nodes).message


def test_speeds_are_by_model_and_cards_and_0_says_that_it_does_not_run_there(tmp_path: Path) -> None:
    text = "model_type,gpus,speed_v100,speed_k80\nbert,1,1,0\nbert,2,1,\n"
    speeds = read_trace(
        written(tmp_path, HEADER + "a,0,1,1,,,bert,,,,\nb,0,1,2,,,bert,,,,\n"),
        speeds=written(tmp_path, text, "speeds.csv"),
    )
    one, two = speeds.jobs
    assert (speeds.speeds.of(one, "k80"), speeds.speeds.of(two, "k80")) == (0, 1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("model_type,gpus,v100\nbert,1,1\n", "no column gives a speed"),
        ("model_type,gpus,speed_v100\nbert,1,-1\n", "out of range"),
        ("model_type,gpus,speed_v100\nbert,1,1\nbert,1,1\n", "there twice"),
    ],
)
def test_bad_speeds_are_refused(tmp_path: Path, text: str, says: str) -> None:
    speeds = written(tmp_path, text, "speeds.csv")
    assert says in refusal(written(tmp_path, HEADER + "a,0,1,1,,,,,,,\n"), speeds=speeds).message


def test_what_was_written_reads_back_as_it_was(tmp_path: Path) -> None:
    trace = Trace(
        [Job("a", 0, 0.1, 1, 500, 250, "m, large", ("f", "g"), "q", "ann", 5), Job("b", 1 / 3, 7, 2, queue="q")],
        [Node("n", 4, "f", 64_000, 1 << 30), Node("m", 0, "g")],
        [Quota("q", "c", "f", "gpu", 4, None, 2.5, "Any", "LowerPriority", "StrictFIFO")],
        Speeds({("m, large", 1): {"f": 1, "g": 0.25}}),
    )
    paths = write_trace(trace, tmp_path)
    assert read_trace(*paths) == trace
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in paths)


def test_the_halves_of_a_trace_share_no_job_and_both_begin_at_once() -> None:
    trace = Trace([Job(str(index), index * 10.0, 1) for index in range(5)])
    first, second = half(trace, second=False), half(trace, second=True)
    assert [job.id for job in first.jobs] == ["0", "1"]
    assert [(job.id, job.submit) for job in second.jobs] == [("2", 0), ("3", 10), ("4", 20)]
