"""How fast a data set is imported, beside the plainest script that could do without us.

    python tests/load/bench_import.py [--rows 20000]

Both read the same JSON lines in the same run and write Parquet. The plain script (json, then pyarrow) neither checks,
nor finds duplicates, nor splits; the difference is the price of that. Writes tests/load/out/import.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
OUT = Path(__file__).parent / "out" / "import.json"
PLAIN = """
import json, sys
import pyarrow as pa, pyarrow.parquet as pq
with open(sys.argv[1], encoding="utf-8") as file:
    rows = [json.loads(line) for line in file]
pq.write_table(pa.Table.from_pylist(rows), sys.argv[2], compression="zstd")
"""
ARROW = """
import sys
import pyarrow.json as pj, pyarrow.parquet as pq
pq.write_table(pj.read_json(sys.argv[1]), sys.argv[2], compression="zstd")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    rows: int = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "rows.jsonl"
        write_rows(source, rows)
        results = {
            "rows": rows,
            "megabytes": round(source.stat().st_size / 1e6, 1),
            "plain_json": measured(rows, lambda: python("-c", PLAIN, str(source), f"{folder}/plain.parquet")),
            "plain_pyarrow": measured(rows, lambda: python("-c", ARROW, str(source), f"{folder}/arrow.parquet")),
            "import": measured(rows, lambda: run_import(source, Path(folder))),
        }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(results, indent=1) + "\n")
    sys.stdout.write(json.dumps(results, indent=1) + "\n")


def write_rows(path: Path, count: int) -> None:
    """Rows of some 100 random words each; one in twenty is a near-copy of an earlier one."""
    draw = random.Random(1)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(20_000)]
    earlier: list[str] = []
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            asked = " ".join(draw.choices(words, k=40))
            if earlier and number % 20 == 0:
                asked = draw.choice(earlier) + " again"
            earlier.append(asked)
            file.write(json.dumps({"prompt": asked, "completion": " ".join(draw.choices(words, k=60))}) + "\n")


def measured(rows: int, work: Callable[[], Any]) -> dict[str, float]:
    """Wall and CPU time, and the memory of the largest process so far: the import comes last, and is it.

    On a machine that does other work too, compare the CPU times.
    """
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    work()
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu, 2),
        "rows_per_second": round(rows / seconds),
        "rows_per_cpu_second": round(rows / cpu),
        "peak_megabytes": round(after.ru_maxrss / 1024),
    }


def run_import(source: Path, folder: Path) -> None:
    """The process that the service starts for an import."""
    out = folder / "out"
    out.mkdir()
    job = folder / "job.json"
    settings = {"test_fraction": 0.2, "seed": 0, "holdouts": {}, "near_duplicate_threshold": 0.7}
    given = {"dataset_type": "SFT", "source": str(source), "filename": source.name, "split": settings, "mixed": []}
    job.write_text(json.dumps(given))
    python("-m", "services.dataset.work", str(job), str(out))
    outcome = json.loads((out / "result.json").read_text())
    if outcome["failure_reason"]:
        raise SystemExit(outcome["failure_message"])


def python(*arguments: str) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "libs")]), "OMP_NUM_THREADS": "2"}
    with subprocess.Popen([sys.executable, *arguments], stdin=subprocess.PIPE, env=environment) as process:
        if process.wait() != 0:
            raise SystemExit(f"exit code {process.returncode}: {' '.join(arguments)[:200]}")


if __name__ == "__main__":
    main()
