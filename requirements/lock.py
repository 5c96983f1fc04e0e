"""Writes the locks: the exact version of everything that each set of extras pulls in, as installed in this environment.

    .venv/bin/python requirements/lock.py          # after installing what pyproject.toml asks for
    .venv/bin/python requirements/lock.py ray      # after installing the extra `ray` too

`base.lock` is what `gyre up` needs; `all.lock` adds training, serving and the workshop; `ray.lock` is `base` and Ray.
Pins, no hashes: the CPU build of torch comes from wherever pip is told to look, under the same version.
"""

from __future__ import annotations

import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).parent
SETS = {"base": (), "all": ("train", "serve", "dev"), "ray": ("ray",)}
DEFAULT = ("base", "all")  # of what `make setup` installs
HEADER = "# Written by requirements/lock.py; do not edit.\n"


def main() -> None:
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]
    for name in sys.argv[1:] or DEFAULT:
        extras = SETS[name]
        wanted = [
            *project["dependencies"],
            *(dep for extra in extras for dep in project["optional-dependencies"][extra]),
        ]
        pins = closure([Requirement(text) for text in wanted])
        lines = "".join(f"{package}=={pin}\n" for package, pin in sorted(pins.items()))
        (HERE / f"{name}.lock").write_text(HEADER + lines)
        sys.stdout.write(f"{name}.lock: {len(pins)} packages\n")


def closure(wanted: list[Requirement]) -> dict[str, str]:
    """Every package that the requirements lead to, with its installed version, less local labels such as +cpu."""
    pins: dict[str, str] = {}
    pending = [(requirement, frozenset(requirement.extras)) for requirement in wanted]
    seen: set[tuple[str, frozenset[str]]] = set()
    while pending:
        requirement, extras = pending.pop()
        name = canonicalize_name(requirement.name)
        if (name, extras) in seen or not applies(requirement, frozenset()):
            continue
        seen.add((name, extras))
        try:
            pins[name] = version(name).split("+")[0]
        except PackageNotFoundError:
            sys.exit(f"{requirement} is not installed; install what pyproject.toml asks for first")
        for text in requires(name) or []:
            child = Requirement(text)
            if applies(child, extras):
                child.marker = None
                pending.append((child, frozenset(child.extras)))
    return pins


def applies(requirement: Requirement, extras: frozenset[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras or {""})


if __name__ == "__main__":
    main()
