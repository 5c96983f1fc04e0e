"""Traces of others, in small samples written after the formats' own descriptions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from services.gpu_scheduler.simulation.importers import from_openb, from_philly, from_slurm
from services.gpu_scheduler.simulation.model import Job, Node
from services.gpu_scheduler.simulation.sacct import elapsed_seconds
from services.gpu_scheduler.simulation.tables import BadTrace, Place

POD_HEADER = (
    "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time\n"
)
SACCT_HEADER = "JobIDRaw|Submit|Start|Elapsed|State|AllocTRES|User|Partition\n"


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def philly_job(**given: Any) -> dict[str, Any]:
    attempt = {
        "start_time": "2017-10-07 01:10:00",
        "end_time": "2017-10-07 01:11:00",
        "detail": [{"ip": "m1", "gpus": ["gpu0", "gpu1"]}, {"ip": "m2", "gpus": ["gpu0"]}],
    }
    job = {"status": "Pass", "vc": "vc1", "jobid": "j1", "attempts": [attempt], "submitted_time": "2017-10-07 01:00:00"}
    return {**job, "user": "u1", **given}


def test_philly_jobs_are_the_sum_of_their_attempts(tmp_path: Path) -> None:
    again = philly_job()["attempts"] * 2
    jobs = [philly_job(jobid="late", submitted_time="2017-10-07 01:01:00", attempts=again), philly_job()]
    log = written(tmp_path, "cluster_job_log", json.dumps(jobs))
    machines = written(tmp_path, "cluster_machine_list", "machineId,number of GPUs,single GPU mem\nm1,8, 24GB\n")
    trace = from_philly([log, machines]).trace
    assert trace.jobs == [
        Job("j1", 0, 60, 3, queue="vc1", user="u1"),
        Job("late", 60, 120, 3, queue="vc1", user="u1"),
    ]
    assert trace.nodes == [Node("m1", 8, "gpu-24GB")]


def test_philly_jobs_that_cannot_be_replayed_are_left_out_and_counted(tmp_path: Path) -> None:
    running = [{"start_time": "2017-10-07 01:10:00", "end_time": "None", "detail": []}]
    jobs = [philly_job(), philly_job(jobid="j2", attempts=[]), philly_job(jobid="j3", attempts=running)]
    imported = from_philly([written(tmp_path, "log", json.dumps(jobs))])
    assert len(imported.trace.jobs) == 1
    assert imported.left_out == {"an attempt without begin or end": 1, "never scheduled": 1}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[\n{", "line 2: it is no JSON"),
        ('{"jobid": "a"}', "no list of jobs"),
        ("[3]", "no jobid"),
        (json.dumps([philly_job(submitted_time="yesterday")]), "'yesterday' is no time"),
        (json.dumps([philly_job(attempts=[7])]), "not made as"),
        (json.dumps([philly_job(), philly_job()]), "there 2 times"),
        ("[]", "no job of it can be replayed"),
    ],
)
def test_a_log_that_is_not_phillys_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(BadTrace, match=says):
        from_philly([written(tmp_path, "log", text)])


def test_openb_pods_keep_their_share_of_a_card_and_the_cards_that_they_accept(tmp_path: Path) -> None:
    rows = [
        "p1,4000,15258,1,220,V100M16|V100M32,BE,Running,1000,1600,1100",
        "p2,88000,327680,8,1000,,Burstable,Succeeded,1010,1020,1010",
        "p3,32000,65536,0,0,,LS,Running,1020,1030,1020",
        "p4,8000,30517,1,470,,BE,Pending,1030,1040,",
    ]
    pods = written(tmp_path, "openb_pod_list_x.csv", POD_HEADER + "\n".join(rows) + "\n")
    nodes = written(
        tmp_path, "nodes.csv", "sn,cpu_milli,memory_mib,gpu,model\nn1,96000,1024,8,V100M32\nn2,32000,1,0,\n"
    )
    imported = from_openb([pods, nodes])
    assert imported.trace.jobs == [
        Job("p1", 0, 500, 1, 4000, 220, flavors=("V100M16", "V100M32"), queue="BE"),
        Job("p2", 10, 10, 8, 88_000, queue="Burstable"),
        Job("p3", 20, 10, 0, 32_000, queue="LS"),
    ]
    assert imported.trace.nodes == [Node("n1", 8, "V100M32", 96_000, 1 << 30), Node("n2", 0, "cpu", 32_000, 1 << 20)]
    assert imported.left_out == {"never scheduled, or not deleted": 1}


def test_an_openb_pod_that_ends_before_it_begins_is_refused(tmp_path: Path) -> None:
    pods = written(tmp_path, "pods.csv", POD_HEADER + "p1,4000,1,1,1000,,BE,Failed,1000,1000,1100\n")
    with pytest.raises(BadTrace, match="line 2, column deletion_time"):
        from_openb([pods])


def test_slurm_jobs_have_cards_cores_and_time_of_their_allocation(tmp_path: Path) -> None:
    rows = [
        "41|2026-11-05T09:00:10|2026-11-05T09:05:00|1-00:00:30|COMPLETED|billing=8,cpu=8,gres/gpu:a100=2,gres/gpu=2|ann|gpu",
        "41.batch|2026-11-05T09:00:10|2026-11-05T09:05:00|1-00:00:30|COMPLETED|cpu=8|ann|",
        "42|2026-11-05T09:00:00|2026-11-05T09:05:00|02:03|CANCELLED by 1000|cpu=4,node=1|bob|cpu,gpu",
        "43|2026-11-05T10:00:00|Unknown|00:00:00|CANCELLED by 1000||bob|cpu",
        "44|2026-11-05T10:00:00|2026-11-05T10:00:00|00:10:00|RUNNING|cpu=4|bob|cpu",
        "45|2026-11-05T10:00:00|2026-11-05T10:00:00|00:00:01|TIMEOUT|cpu=1,gres/gpu:a100=1,gres/gpu:v100=2|bob|gpu",
    ]
    imported = from_slurm([written(tmp_path, "jobs.txt", SACCT_HEADER + "\n".join(rows) + "\n")])
    assert imported.trace.jobs == [
        Job("42", 0, 123, 0, 4000, queue="cpu", user="bob"),
        Job("41", 10, 86_430, 2, 8000, flavors=("a100",), queue="gpu", user="ann"),
        Job("45", 3600, 1, 3, 1000, queue="gpu", user="bob"),
    ]
    assert imported.left_out == {"never ran": 1, "not ended": 1}


def test_slurm_may_print_seconds_and_epochs(tmp_path: Path) -> None:
    text = "JobID|Submit|ElapsedRaw|State|AllocTRES\n1|1700000000|60|COMPLETED|cpu=1\n2|1700000007|60|FAILED|cpu=1\n"
    assert [job.submit for job in from_slurm([written(tmp_path, "jobs.txt", text)]).trace.jobs] == [0, 7]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("JobIDRaw|Submit|State|AllocTRES\n", "column ElapsedRaw or Elapsed is missing"),
        ("Submit|Elapsed|State|AllocTRES\n", "column JobIDRaw or JobID is missing"),
        (SACCT_HEADER + "1|2026-11-05T09:00:10||soon|COMPLETED|cpu=1||\n", "column Elapsed: 'soon'"),
        (SACCT_HEADER + "1|2026-11-05T09:00:10||00:01|COMPL+|cpu=1||\n", "'COMPL\\+' is no state"),
        (SACCT_HEADER + "1|noon||00:01|COMPLETED|cpu=1||\n", "column Submit: 'noon'"),
        (SACCT_HEADER + "1|2026-11-05T09:00:10||00:01|COMPLETED|cpu=many||\n", "column AllocTRES"),
    ],
)
def test_what_is_not_from_sacct_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(BadTrace, match=says):
        from_slurm([written(tmp_path, "jobs.txt", text)])


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("00:01", 1), ("02:03", 123), ("01:02:03", 3723), ("2-00:00:01", 172_801), ("00:00:01.500", 1.5)],
)
def test_elapsed_times_of_slurm_have_one_to_four_parts(given: str, seconds: float) -> None:
    assert elapsed_seconds(Place("x"), given) == seconds
