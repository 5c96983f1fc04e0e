"""Of what vLLM 0.32 printed when it could not start."""

from __future__ import annotations

import subprocess
import sys

import pytest

from services.inference_gateway.complaints import Complaint

NO_KERNEL = """\
(Worker pid=27758) ERROR 11-27 10:09:45 [multiproc_executor.py:953] Traceback (most recent call last):
(Worker pid=27758) ERROR 11-27 10:09:45 [multiproc_executor.py:953]     raise ValueError(
(Worker pid=27758) ERROR 11-27 10:09:45 [multiproc_executor.py:953] ValueError: Failed to find a kernel. Reasons:
(Worker pid=27758) ERROR 11-27 10:09:45 [multiproc_executor.py:953]  CPUWNA16LinearKernel cannot implement due to: uint3
(EngineCore pid=25380) ERROR 11-27 10:09:48 [core.py:1510] Exception: WorkerProc failed. See stack trace for root cause.
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': 1}
"""
BAD_CONFIG = """\
pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig
  Value error, Model architectures ['Moon'] unknown
    For further information visit https://errors.pydantic.dev
"""
QUIET = "INFO: Started\nWARNING This can cause fd limit errors like `OSError: [Errno 24] Too many open files`.\n"


@pytest.mark.parametrize(
    ("printed", "says"),
    [
        (NO_KERNEL, "ValueError: Failed to find a kernel. Reasons: CPUWNA16LinearKernel cannot implement due to: uint3"),
        (BAD_CONFIG, "ValidationError: 1 validation error for ModelConfig Value error, Model architectures ['Moon'] unknown"),
        (QUIET, ""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_the_cause_is_told_and_not_what_points_at_it(
    printed: str, says: str, stream: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    command = [sys.executable, "-c", f"import sys; sys.{stream}.write({printed!r})"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    complaint = Complaint(child)
    child.wait()
    assert complaint.sentence() == says
    passed_on = capfdbinary.readouterr()
    assert (passed_on.out if stream == "stdout" else passed_on.err).decode() == printed
