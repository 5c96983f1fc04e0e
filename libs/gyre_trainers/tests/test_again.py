"""The same spec trained twice, by processes that share nothing, makes the same files."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gyre_trainers import manifest

LIBS = Path(__file__).resolve().parents[2]
Specs = Callable[..., Path]


@pytest.fixture(scope="session")
def assembled(objects: Path, base: dict[str, str]) -> dict[str, str]:
    """The tiny model by its manifest, as the registry names it: each trainer puts it together in a folder of its own."""
    uri = f"{base['uri']}/{manifest.NAME}"
    return {"uri": uri, "digest": f"sha256:{manifest.sha256(objects / uri.removeprefix('gyre://'))}"}


async def output_of(spec: Path, objects: Path, *, hash_seed: int) -> dict[str, Any]:
    """The manifest of what a trainer of its own makes of `spec`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gyre_trainers.run",
        str(spec),
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(LIBS), "PYTHONHASHSEED": str(hash_seed)},
    )
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    content = json.loads(spec.read_text())
    found = manifest.verified(objects / content["output_prefix"])
    assert found is not None
    return found


@pytest.mark.parametrize("rank", [0, 8])
async def test_a_spec_trained_again_makes_the_same_files(
    rank: int, specs: Specs, scheduler: Any, objects: Path, assembled: dict[str, str]
) -> None:
    wanted = {"max_steps": 6, "lora_rank": rank, "lora_dropout": 0.1}
    both = [specs(f"again-{rank}-{turn}", "SFT", base=assembled, hyperparameters=wanted) for turn in (1, 2)]
    outputs = [await output_of(spec, objects, hash_seed=turn) for turn, spec in enumerate(both, start=1)]
    first, second = ({file["path"]: file["sha256"] for file in output["files"]} for output in outputs)
    assert first == second
    assert len({manifest.content_digest(output["files"]) for output in outputs}) == 1


async def test_another_seed_makes_other_files(specs: Specs, scheduler: Any, objects: Path) -> None:
    wanted = {"max_steps": 2, "lora_rank": 8}
    outputs = [
        await output_of(specs(f"seed-{seed}", "SFT", seed=seed, hyperparameters=wanted), objects, hash_seed=1)
        for seed in (7, 8)
    ]
    assert len({manifest.content_digest(output["files"]) for output in outputs}) == 2
