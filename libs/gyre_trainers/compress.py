"""Weights made smaller for cards by llm-compressor: AWQ and GPTQ (4-bit weights) and FP8, in compressed-tensors' format.

AWQ (Lin et al. 2023) and GPTQ (Frantar et al. 2022) look at what the layers read on the domain's own conversations; FP8
measures its inputs while it serves (llm-compressor's FP8_DYNAMIC), and takes none. llm-compressor has an environment of
its own: see llmcompressor_run.py, which is all that runs there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from gyre_trainers import base, llmcompressor_run
from gyre_trainers.data import Row
from gyre_trainers.exits import BadInput
from gyre_trainers.tokens import template_ids

QUANTISATIONS: Final = ("AWQ", "GPTQ", "FP8")
ROWS: Final = 256  # conversations, as in llm-compressor's example of AWQ
LONGEST: Final = 2048  # tokens of one conversation, as in its example of GPTQ
USUAL_GROUP: Final = llmcompressor_run.GROUPS[0]
REMOVED: Final = ("PYTHON", "VIRTUAL_ENV", "GYRE_", "AWS_")  # our environment, our settings and our store's keys
QUIET: Final = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "TQDM_DISABLE": "1"}
MARK: Final = "GYRE_WORK_FOLDER"  # by which the launcher finds what a job started
REMEDY: Final = "take a GGUF quantisation, for example Q4_K_M"


class CompressorMissing(BadInput):
    """The environment that was named has no llmcompressor."""


def compress(folder: Path, output: Path, quantisation: str, rows: Sequence[Row], python: str = "") -> str:
    """Writes `output`, a folder like the Hugging Face one in `folder`, and returns a sentence on how it was made.

    `rows` are conversations; FP8 takes none. `python` is that of llmcompressor's environment; ours if empty.
    Raises: BadInput, also for a model that llmcompressor cannot quantise; CompressorMissing; RuntimeError.
    """
    _check(base.check_folder(folder, "manifest"))
    work = output.with_name(f".{output.name}.work")
    work.mkdir(parents=True)
    tokens, listing = 0, Path()
    if rows:
        encoded = [template_ids(base.load_tokenizer(folder), row["messages"])[:LONGEST] for row in rows]
        tokens, listing = sum(map(len, encoded)), work / "rows.jsonl"
        listing.write_text("".join(json.dumps({"input_ids": ids}) + "\n" for ids in encoded))
    spec = {"model": str(folder), "output": str(output), "quantisation": quantisation}
    made = _run(python or sys.executable, work, spec | {"rows": str(listing) if rows else ""})
    _add_the_rest(folder, output)
    return _note(quantisation, made["group_size"], len(rows), tokens)


def _check(config: dict[str, Any]) -> None:
    architecture = str(config["architectures"][0])
    if not architecture.endswith("ForCausalLM"):
        raise BadInput("manifest", f"{architecture} generates no text", "name a model of a …ForCausalLM class")
    if config.get("quantization_config"):
        raise BadInput("manifest", "the weights are quantised already", "import the version with its full weights")


def _run(python: str, work: Path, spec: dict[str, str]) -> dict[str, Any]:
    """What made.json says. Raises: BadInput; CompressorMissing; RuntimeError."""
    (work / "spec.json").write_text(json.dumps(spec))
    inherited = {name: it for name, it in os.environ.items() if name == MARK or not name.startswith(REMOVED)}
    command = [python, "-I", str(Path(llmcompressor_run.__file__)), str(work / "spec.json")]
    try:
        child = subprocess.Popen(command, env=inherited | QUIET, stderr=subprocess.PIPE, stdout=sys.stderr, text=True)
    except OSError as error:
        raise _missing(f"{python} cannot be started ({error.strerror})") from error
    last = ""
    assert child.stderr is not None
    for line in child.stderr:
        sys.stderr.write(line)
        last = line.strip() or last
    code = child.wait()
    if code == llmcompressor_run.NO_PACKAGE:
        raise _missing(last)
    if code == llmcompressor_run.BAD_MODEL:
        raise BadInput("manifest", f"llm-compressor cannot make {spec['quantisation']} of it: {last[:300]}", REMEDY)
    if code:
        raise RuntimeError(f"llm-compressor ended with {code}: {last[:300]}")
    made: dict[str, Any] = json.loads((work / "made.json").read_text())
    return made


def _missing(problem: str) -> CompressorMissing:
    remedy = (
        "install it on every node (pip install 'gyre[gpu]' into an environment of its own) and name that environment's "
        "Python in GYRE_LLMCOMPRESSOR_PYTHON, or take a GGUF quantisation"
    )
    return CompressorMissing("llmcompressor_python", problem, remedy)


def _add_the_rest(folder: Path, output: Path) -> None:
    """Tokenizer and chat template as they were; not the adapter that a run left beside its merged weights."""
    for path in folder.iterdir():
        is_weights = path.name.endswith((".safetensors", ".safetensors.index.json"))
        if path.is_file() and not is_weights and not (output / path.name).exists():
            shutil.copyfile(path, output / path.name)


def _note(quantisation: str, group_size: int, rows: int, tokens: int) -> str:
    if quantisation == "FP8":
        return "FP8 weights, a scale for each row; inputs are scaled while it serves"
    odd = "" if group_size == USUAL_GROUP else f"; {USUAL_GROUP} does not divide the width of every matrix"
    seen = f"calibrated on {rows:,} conversation{'s' if rows != 1 else ''} ({tokens:,} tokens)"
    return f"4-bit weights in groups of {group_size}{odd}; {seen}"
