"""A small real module for the launcher: does what its spec says, and leaves a line in `runs` each time that it runs."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any


def main(path: Path) -> int:
    spec: dict[str, Any] = json.loads(path.read_text())
    with Path("runs").open("a") as file:
        file.write(f"{os.getpid()}\n")
    Path("environment.json").write_text(json.dumps(dict(os.environ)))
    print("out: it begins", flush=True)
    print(f"attempt {spec['attempt']} begins", file=sys.stderr, flush=True)
    ways = {"exit": leave, "wait": wait, "serve": serve, "result": result, "recover": recover, "sum": sum_up}
    return ways[spec["do"]](spec)


def leave(spec: dict[str, Any]) -> int:
    print("the last word", file=sys.stderr)
    return int(spec["code"])


def recover(spec: dict[str, Any]) -> int:
    """Fails until the attempt that the spec names."""
    return 0 if spec["attempt"] >= spec["until"] else 1


def result(spec: dict[str, Any]) -> int:
    Path("result.json").write_text(spec["text"])
    return 0


def sum_up(_: dict[str, Any]) -> int:
    """Each rank sends rank + 1 to rank 0, which waits for all and leaves the sum: a gang's work without torch."""
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    master = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
    if rank:
        return send(master, rank + 1)
    total = 1
    with socket.create_server(("", master[1])) as server:
        for _rank in range(1, size):
            connection, _ = server.accept()
            with connection:
                total += int(connection.recv(16))
    Path("result.json").write_text(json.dumps({"sum": total, "world_size": size}))
    return 0


def send(master: tuple[str, int], number: int) -> int:
    """Rank 0 may not listen yet."""
    deadline = time.monotonic() + 30
    while True:
        try:
            with socket.create_connection(master, timeout=5) as connection:
                connection.sendall(str(number).encode())
            return 0
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def wait(spec: dict[str, Any]) -> int:
    if spec.get("stubborn"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if spec.get("grandchild"):
        subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
    Path("waiting").touch()
    while True:
        signal.pause()


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()


def serve(spec: dict[str, Any]) -> int:
    HTTPServer((spec["host"], spec["port"]), Healthy).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
