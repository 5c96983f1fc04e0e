"""The gateway's hot path as machine code: `python -m services.inference_gateway.proxy.compiling` (`make fast`).

mypyc makes C of the very modules that otherwise run as they are, by their type hints. Workers use what was made as long
as it is of these sources: it lies in a folder that is named by their digest, so a change of one makes them run as plain
Python again. Everything else, and every test that calls these modules itself, runs the sources.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = Path("services/inference_gateway/proxy")
FOLDER = ROOT / "build/proxy"
# What runs for each request, and what inherits from it. A dataclass gets an `__init__` that is not compiled: what is made
# for each request has one that is written out.
MODULES = (
    "access", "allowance", "answering", "asking", "attempt", "balance", "bounds", "connection", "dialects", "errors",
    "exchange", "fairness", "gateway", "hot_adapters", "jsons", "ledger", "limits", "listing", "metrics", "outcomes", "parts",
    "pool", "reply", "responses", "responses_stream", "routing", "server", "shadow", "snapshot", "turns", "ulid",
    "upstream", "usage", "wire",
)  # fmt: skip


def environment() -> dict[str, str]:
    """What a worker is told, so that it uses the compiled form; nothing where there is none of these sources."""
    compiled = _folder()
    return {"GYRE_PROXY_COMPILED": str(compiled)} if compiled.is_dir() else {}


def build() -> Path:
    """Raises: ImportError without mypyc; whatever setuptools raises without a C compiler."""
    from mypyc.build import mypycify
    from setuptools import Distribution  # type: ignore[import-untyped]

    FOLDER.mkdir(parents=True, exist_ok=True)
    made = _folder()
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory(dir=FOLDER) as work:
        extensions = mypycify([str(path) for path in _sources()], opt_level="3", target_dir=f"{work}/c")
        command = Distribution({"name": "gyre-proxy", "ext_modules": extensions}).get_command_obj("build_ext")
        command.build_lib, command.build_temp = f"{work}/lib", f"{work}/objects"
        command.ensure_finalized()
        command.run()
        if not made.is_dir():
            os.replace(f"{work}/lib", made)
    for old in FOLDER.glob(f"{sys.implementation.cache_tag}-*"):
        if old != made:
            shutil.rmtree(old)
    return made


def main() -> int:
    if _folder().is_dir():
        return 0
    if shutil.which(os.environ.get("CC", "cc")) is None:
        print("There is no C compiler (cc): the gateway runs as plain Python, at about two thirds of its speed.")
        return 0
    print("compiling the gateway's hot path (once for each change of it; half a minute)")
    build()
    return 0


def _sources() -> list[Path]:
    return [PACKAGE / f"{module}.py" for module in MODULES]


def _folder() -> Path:
    """Where the compiled form of the sources of now is, or would be."""
    digest = sha256()
    for path in _sources():
        digest.update(path.name.encode() + b"\0" + (ROOT / path).read_bytes())
    return FOLDER / f"{sys.implementation.cache_tag}-{digest.hexdigest()[:16]}"


if __name__ == "__main__":
    sys.exit(main())
