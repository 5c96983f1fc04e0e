"""The house's rules about who may import whom, read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from gyre_kit.addresses import COMPONENTS

ROOT = Path(__file__).resolve().parents[2]
SERVICES = [ROOT / "services" / component for component in COMPONENTS]
HEAVY = {"torch", "transformers", "trl", "peft", "datasets", "daft", "scipy", "lm_eval", "ray", "xllamacpp", "cyllama"}
WORKERS = {"work.py", "engine.py", "ray_agent.py"}
# Within a service imports run one way; each layer may use those to its right.
LAYERS = ("main", "api", "events", "reconcile", "service", "store", "models")


def python_files(folder: Path, *, tests: bool = False) -> Iterator[Path]:
    for path in sorted(folder.rglob("*.py")):
        inside = path.relative_to(folder).parts
        if "node_modules" not in inside and (tests or "tests" not in inside):
            yield path


def imports(path: Path, *, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("service", SERVICES, ids=lambda path: path.name)
def test_a_service_never_imports_another(service: Path) -> None:
    for path in python_files(service):
        others = {
            name
            for name in imports(path)
            if name.startswith("services.") and name.split(".")[1] not in (service.name, "")
        }
        assert not others, f"{path.relative_to(ROOT)} imports {sorted(others)}"


@pytest.mark.parametrize("service", SERVICES, ids=lambda path: path.name)
def test_a_service_process_never_imports_what_is_heavy(service: Path) -> None:
    for path in python_files(service):
        if path.name not in WORKERS:
            heavy = {name.split(".")[0] for name in imports(path)} & HEAVY
            assert not heavy, f"{path.relative_to(ROOT)} imports {sorted(heavy)}"


@pytest.mark.parametrize("service", SERVICES, ids=lambda path: path.name)
def test_imports_run_one_way_through_the_layers(service: Path) -> None:
    """Of the service, and of each package of it that is laid out like one (`batches/store.py`)."""
    for folder in (service, *sorted(path for path in service.iterdir() if path.is_dir())):
        package = ".".join(folder.relative_to(ROOT).parts)
        for index, layer in enumerate(LAYERS):
            above = {f"{package}.{name}" for name in LAYERS[:index]}
            for path in (folder / f"{layer}.py", *sorted((folder / layer).glob("*.py"))):
                wrong = imports(path) & above if path.exists() else set()
                assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


def test_only_the_kit_commits() -> None:
    for service in SERVICES:
        for path in python_files(service):
            assert ".commit()" not in path.read_text("utf-8") or path.name == "consumer.py", path.relative_to(ROOT)


def test_the_kit_knows_no_service() -> None:
    for path in python_files(ROOT / "libs" / "gyre_kit"):
        own = {name for name in imports(path) if name.startswith(("services.", "gyre_sdk", "gyre_trainers"))}
        assert not own, f"{path.relative_to(ROOT)} imports {sorted(own)}"


@pytest.mark.parametrize("service", SERVICES, ids=lambda path: path.name)
def test_every_service_has_the_rooms_that_a_reader_expects(service: Path) -> None:
    for name in ("main.py", "settings.py", "api.py", "service.py", "store.py", "migrations", "tests"):
        assert (service / name).exists(), f"{service.name} has no {name}"
    assert find_spec(f"services.{service.name}.models"), f"{service.name} has no models"  # a module, or a package


def test_nothing_is_unpickled_and_no_shell_is_asked() -> None:
    for folder in (ROOT / "libs", ROOT / "services", ROOT / "deploy"):
        for path in python_files(folder):
            names = {name.split(".")[0] for name in imports(path)}
            assert not names & {"pickle", "cloudpickle", "shelve"}, path.relative_to(ROOT)
            assert "shell=True" not in path.read_text("utf-8"), path.relative_to(ROOT)
