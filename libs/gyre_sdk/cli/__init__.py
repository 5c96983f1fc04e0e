"""The command line. `main` is the entry point; everything else is loaded when it is asked for."""

from __future__ import annotations

import sys


def main() -> None:
    from gyre_sdk.cli.root import run

    sys.exit(run())
