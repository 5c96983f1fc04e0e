"""Imports torch and TRL once, then forks a trainer for each line of JSON on stdin: ten seconds saved a run.

A line is {"id", "spec", "log"}; with "kill_at" the trainer kills itself once the checkpoint of that step is complete,
with "trial" it tries ten steps alone. Answers on stdout: {"id", "pid"} at the fork and {"id", "code"} at the end.
"""

import importlib
import json
import os
import select
import signal
import sys
import traceback

from gyre_trainers import run, trial
from gyre_trainers.methods import METHODS

PRELOADED = [
    "gyre_trainers.fit",
    *(about.module for about in METHODS.values()),
    "gyre_trainers.bundled",
    "safetensors.torch",
]


def say(**message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def become_trainer(request: dict[str, str]) -> None:
    """In the child: leaves with run.main's exit code, as `python -m gyre_trainers.run` would."""
    os.setsid()
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    code = None
    if "kill_at" in request:
        kill_after(int(request["kill_at"]))
    try:
        if "trial" in request:
            code = trial.main(["gyre_trainers.trial", request["spec"]])
        else:
            code = run.main(["gyre_trainers.run", request["spec"]])
    finally:
        if code is None:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1 if code is None else code)


def kill_after(step: int) -> None:
    """SIGKILL at a step, however fast the machine is."""
    from gyre_trainers import checkpoints

    publish = checkpoints.publish

    async def last_act(*args: object, **kwargs: object) -> object:
        saved = await publish(*args, **kwargs)  # type: ignore[arg-type]
        if saved.step == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return saved

    checkpoints.publish = last_act  # type: ignore[assignment]


def main() -> None:
    run.bound_threads(1)
    for name in PRELOADED:
        importlib.import_module(name)
    say(id="ready")
    children: dict[int, str] = {}
    while True:
        readable, _, _ = select.select([0], [], [], 0.05)
        if readable:
            line = sys.stdin.readline()
            if not line:
                return
            request = json.loads(line)
            pid = os.fork()
            if pid == 0:
                become_trainer(request)
            children[pid] = request["id"]
            say(id=request["id"], pid=pid)
        while children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            say(id=children.pop(pid), code=os.waitstatus_to_exitcode(status))


main()
