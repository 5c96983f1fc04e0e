"""What is generated follows from its sources, byte for byte."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GENERATED = (
    "libs/gyre",
    "docs/asyncapi.yaml",
    "docs/openapi.json",
    "docs/gateway-openapi.json",
    "docs/reference/settings.md",
    "docs/reference/cli.md",
    "services/console/src/api/types.gen.ts",
)
SCRIPTS = ("proto/gen.py", "docs/generate.py", "services/console/scripts/gen_types.py")


def contents(root: Path) -> dict[str, bytes]:
    found = {}
    for name in GENERATED:
        path = root / name
        files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
        found |= {str(each.relative_to(root)): each.read_bytes() for each in files if "__pycache__" not in each.parts}
    return found


def test_generating_again_changes_nothing(tmp_path: Path) -> None:
    copy = tmp_path / "gyre"
    ignored = shutil.ignore_patterns(".git", ".venv", "node_modules", ".gyre", "__pycache__", "dist", "tests", "data")
    shutil.copytree(ROOT, copy, ignore=ignored)
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHONPATH": f"{copy}:{copy / 'libs'}"}
    for script in SCRIPTS:
        command = [sys.executable, script]
        done = subprocess.run(
            command, check=False, cwd=copy, env=environment, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stderr
    assert contents(copy) == contents(ROOT)


def test_the_protos_are_clean_and_break_nobody() -> None:
    buf = Path(sys.executable).parent / "buf"
    for arguments in (["lint"], ["breaking", "--against", "proto/released.binpb"]):
        done = subprocess.run([buf, *arguments], check=False, cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
