"""The compiled hot path passes the tests of the sources."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.inference_gateway.proxy import compiling

HERE = Path(__file__).parent
FILES = ("completions", "responses", "embeddings", "faults", "manners", "fallbacks", "sleepers", "shadow")


@pytest.mark.skipif(not compiling.environment(), reason="the hot path is not compiled: `make fast`")
def test_the_compiled_hot_path_passes_the_tests_of_the_sources():
    files = [str(HERE / f"test_{name}.py") for name in FILES]
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", *files]
    environment = (
        os.environ | compiling.environment() | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    )
    ran = subprocess.run(
        command, check=False, cwd=compiling.ROOT, env=environment, capture_output=True, text=True, timeout=900
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-1000:]


def test_what_inherits_from_a_compiled_class_is_compiled_too():
    """Python refuses to make an instance of one that is not."""
    compiled = {name for module in compiling.MODULES for name in _classes(module)}
    others = {path.stem for path in HERE.parent.glob("*.py")} - set(compiling.MODULES)
    wrong = {f"{module}.{name}" for module in others for name, bases in _classes(module).items() if bases & compiled}
    assert wrong == set()


def _classes(module: str) -> dict[str, set[str]]:
    """By name, what each inherits from."""
    tree = ast.parse((HERE.parent / f"{module}.py").read_text())
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    return {each.name: {base.id for base in each.bases if isinstance(base, ast.Name)} for each in classes}
