"""Whatever a file has in it, it is read or refused in words; nothing else comes of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from services.gpu_scheduler.simulation.importers import Imported, from_openb, from_philly, from_slurm
from services.gpu_scheduler.simulation.model import Job
from services.gpu_scheduler.simulation.tables import MOST, BadTrace
from services.gpu_scheduler.simulation.traces import read_jobs, read_nodes, read_quotas, read_speeds

FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
CELLS = st.sampled_from(
    [
        "",
        "0",
        "1",
        "-1",
        "1.5",
        "nan",
        "inf",
        "1e9",
        "1e400",
        "1_000",
        "٣",
        "a",
        "a|b",
        '"',
        " 7 ",
        "\x00",
        "1000",
        "gpu",
        "é",
    ]
)
OURS: list[tuple[Callable[[Path], Any], str]] = [
    (read_jobs, "job_id,submit_s,duration_s,gpus,cpus,gpu_milli,model_type,flavors,queue,user,priority"),
    (read_nodes, "node_id,gpus,flavor,cpus,mem_mib"),
    (read_quotas, "queue,cohort,flavor,resource,nominal,borrowing_limit,lending_limit,reclaim_within_cohort"),
    (read_speeds, "model_type,gpus,speed_a,speed_b"),
]


def read_or_refuse(read: Callable[[], Any]) -> None:
    try:
        found = read()
    except BadTrace as error:
        assert error.metadata["file"] and error.metadata["remedy"] and error.message
        return
    for job in found.trace.jobs if isinstance(found, Imported) else found:
        if isinstance(job, Job):
            assert all(0 <= number <= MOST for number in (job.submit, job.duration, job.gpus, job.cpu_milli / 1000))


@pytest.mark.parametrize(("read", "header"), OURS, ids=["jobs", "nodes", "quotas", "speeds"])
@FUZZ
@given(rows=st.lists(st.lists(CELLS, min_size=1, max_size=12), max_size=4))
def test_tables_of_odd_cells(read: Callable[[Path], Any], header: str, rows: list[list[str]], tmp_path: Path) -> None:
    width = header.count(",") + 1
    lines = [header, *(",".join([*row, *[""] * (width - len(row))]) for row in rows)]
    path = tmp_path / "table.csv"
    path.write_bytes("\n".join(lines).encode())
    read_or_refuse(lambda: read(path))


@FUZZ
@given(data=st.binary(max_size=300))
@example(data=b"\x1f\x8b\x08")
@example(data=b"\xff\xfea\x00")
@example(data=b"\r\r\r")
@example(data=b"[" * 100_000)
@example(data=b'[{"jobid": "\xff"}]')
def test_any_bytes(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "anything"
    path.write_bytes(data)
    for read, _ in OURS:
        read_or_refuse(lambda read=read: read(path))  # type: ignore[misc]
    for importer in (from_philly, from_openb, from_slurm):
        read_or_refuse(lambda importer=importer: importer([path]))  # type: ignore[misc]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["gpus", "detail", "ip"]), inner),
    max_leaves=5,
)
TIMES = st.sampled_from(["2017-10-07 01:12:09", "2017-10-07 01:13:09", "None", None, ""]) | JSON


@FUZZ
@given(
    entries=st.lists(
        st.fixed_dictionaries(
            {"jobid": st.text(max_size=3) | JSON, "submitted_time": TIMES},
            optional={
                "attempts": JSON
                | st.lists(st.fixed_dictionaries({"start_time": TIMES, "end_time": TIMES, "detail": JSON}), max_size=2),
                "vc": JSON,
            },
        ),
        max_size=3,
    )
)
def test_any_job_of_a_philly_log(entries: list[dict[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(json.dumps(entries), "utf-8")
    read_or_refuse(lambda: from_philly([path]))


POD = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time"
SACCT = "JobIDRaw|Submit|Elapsed|State|AllocTRES|User|Partition"
SACCT_CELLS = CELLS | st.sampled_from(
    [
        "2026-11-05T09:00:10",
        "0001-01-01T00:00:00",
        "9" * 400,
        "1-00:00:00",
        "COMPLETED",
        "CANCELLED by 0",
        "gres/gpu=2",
        "gres/gpu=-2",
        "cpu=1.5",
        "cpu=8,mem=64G,gres/gpu:a=3",
        f"{'9' * 99}:00",
    ]
)


@pytest.mark.parametrize(
    ("importer", "header", "separator"), [(from_openb, POD, ","), (from_slurm, SACCT, "|")], ids=["openb", "sacct"]
)
@FUZZ
@given(rows=st.lists(st.lists(SACCT_CELLS, min_size=7, max_size=11), max_size=4))
def test_any_cells_of_the_others(
    importer: Callable[[Sequence[Path]], Any], header: str, separator: str, rows: list[list[str]], tmp_path: Path
) -> None:
    width = header.count(separator) + 1
    lines = [header, *(separator.join([*row, *["1"] * width][:width]) for row in rows)]
    path = tmp_path / "table"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    read_or_refuse(lambda: importer([path]))
