"""The import as a process of its own: its memory goes back when it ends, and a crash in it costs one attempt.

`python -m services.dataset.work JOB OUT` reads the job (JSON), writes the version's files and then result.json into
the folder OUT. Exit 0 also where the file was refused; anything else is a fault of ours.
It ends with whoever started it: its standard input is a pipe that closes when the other end dies.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from dataclasses import asdict
from pathlib import Path

from services.dataset.importer.pipeline import Job, run

ORPHANED = 75


def main() -> None:
    job, out = Path(sys.argv[1]), Path(sys.argv[2])
    threading.Thread(target=_end_with_parent, daemon=True).start()
    outcome = run(Job.from_json(job.read_text(encoding="utf-8")), out)
    temporary = out / ".result.json"
    temporary.write_text(json.dumps(asdict(outcome), ensure_ascii=False), encoding="utf-8")
    os.replace(temporary, out / "result.json")


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(ORPHANED)


if __name__ == "__main__":
    main()
