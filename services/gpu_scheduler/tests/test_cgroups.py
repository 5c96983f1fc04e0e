"""Which group is ours to use, and what is written into it. On a folder with the kernel's file names: no kernel's group
of version 2 was there to try it on.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from services.gpu_scheduler.launchers import cgroups
from services.gpu_scheduler.launchers.base import Member


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """/gyre.slice is delegated, and the service lives in its child `service`."""
    slice_ = tmp_path / "cgroup" / "gyre.slice"
    (slice_ / "service").mkdir(parents=True)
    (tmp_path / "cgroup" / "cgroup.controllers").write_text("cpu memory pids")
    (slice_ / "cgroup.controllers").write_text("cpu memory pids")
    (slice_ / "cgroup.subtree_control").write_text("")
    (tmp_path / "own").write_text("4:memory:/old\n0::/gyre.slice/service\n")
    return tmp_path


def test_what_was_delegated_is_found_and_its_controllers_are_passed_on(tree: Path) -> None:
    found = cgroups.take(tree / "own", tree / "cgroup")
    assert found == cgroups.Delegation(tree / "cgroup" / "gyre.slice")
    assert (tree / "cgroup" / "gyre.slice" / "cgroup.subtree_control").read_text() == "+cpu +memory"


def test_the_limits_are_those_of_the_member(tree: Path) -> None:
    member = Member("nodes/a", cpu_milli=1500, memory_bytes=2**30)
    group = cgroups.make(tree, "01W-1", member, limit_cpu=True)
    assert {path.name: path.read_text() for path in group.iterdir()} == {
        "memory.max": "1073741824",
        "cpu.weight": "150",
        "cpu.max": "150000 100000",
    }
    shared = cgroups.make(tree, "01W-2", Member("nodes/a", cpu_milli=250), limit_cpu=False)
    assert {path.name: path.read_text() for path in shared.iterdir()} == {"cpu.weight": "25"}


def test_what_is_not_ours_says_why(tree: Path) -> None:
    (tree / "cgroup" / "gyre.slice" / "cgroup.controllers").write_text("pids")
    assert "no controller of cpu, memory" in cgroups.find(tree / "own", tree / "cgroup").why
    (tree / "own").write_text("0::/\n")
    assert "is not delegated" in cgroups.find(tree / "own", tree / "cgroup").why
    assert "no cgroups of version 2" in cgroups.find(tree / "own", tree / "nothing").why
