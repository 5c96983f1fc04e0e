"""Decisions without a network: which files of a version are a model, and which side's alias has moved."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gyre_sdk.errors import GyreError

PICKLED = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".cloudpickle")
BESIDE = (".json", ".model", ".txt", ".jinja")
TOKENIZER = "components/tokenizer/"  # where MLflow's transformers flavour keeps it, its weights being in `model/`


def model_files(paths: Iterable[str]) -> dict[str, str]:
    """Path → plain name of the files that make the model: one GGUF, or the folder that has config.json and safetensors.

    Raises: GyreError (PICKLED_FLAVOUR, NO_MODEL_FILES, SEVERAL_MODELS).
    """
    given = sorted(paths)
    ggufs = [path for path in given if path.endswith(".gguf")]
    folders = sorted({_folder(path) for path in given if path.endswith(".safetensors")} & _with_config(given))
    if len(ggufs) + len(folders) > 1:
        raise GyreError(0, "SEVERAL_MODELS", f"It has several models: {', '.join(ggufs + folders)[:200]}.")
    if ggufs:
        return {ggufs[0]: _name(ggufs[0])}
    if not folders:
        if pickled := next((path for path in given if path.lower().endswith(PICKLED)), ""):
            remedy = "Log the model again with safetensors (save_pretrained(safe_serialization=True))."
            raise GyreError(0, "PICKLED_FLAVOUR", f"{pickled} is pickled and may run code when it is loaded.", remedy)
        raise GyreError(0, "NO_MODEL_FILES", "It has neither a GGUF file nor a folder of config.json and safetensors.")
    own = {path: _name(path) for path in given if _folder(path) == folders[0] and _is_wanted(path)}
    names = set(own.values())
    beside = {path: _name(path) for path in given if path.startswith(TOKENIZER) and path.endswith(BESIDE)}
    return own | {
        path: name for path, name in beside.items() if name not in names and "/" not in path[len(TOKENIZER) :]
    }


def slug(name: str) -> str:
    """`hotline-bot` of `Hotline Bot`."""
    return re.sub(r"[^a-z0-9._]+", "-", name.lower()).strip("-._")[:63].strip("-._") or "model"


@dataclass(frozen=True)
class Moves:
    """Aliases to move, alias → Gyre version; and those that both sides moved apart."""

    pull: dict[str, str]
    push: dict[str, str]
    conflicts: tuple[str, ...]


def merge(
    there: Mapping[str, str], here: Mapping[str, str], agreed: Mapping[str, str], *, pull: bool, push: bool
) -> Moves:
    """`there` in MLflow, `here` in Gyre, `agreed` when last alike; all alias → Gyre version.

    With one direction its source wins. With both, the side that moved since they agreed does; if both did, neither.
    """
    to_pull: dict[str, str] = {}
    to_push: dict[str, str] = {}
    conflicts: list[str] = []
    for alias in sorted(there.keys() | here.keys()):
        theirs, ours, before = there.get(alias), here.get(alias), agreed.get(alias)
        if theirs == ours:
            continue
        if theirs and pull and (not push or not ours or before == ours):
            to_pull[alias] = theirs
        elif ours and push and (not pull or not theirs or before == theirs):
            to_push[alias] = ours
        elif theirs and ours:
            conflicts.append(alias)
    return Moves(to_pull, to_push, tuple(conflicts))


def _with_config(paths: Iterable[str]) -> set[str]:
    return {_folder(path) for path in paths if _name(path) == "config.json"}


def _is_wanted(path: str) -> bool:
    return path.endswith((*BESIDE, ".safetensors")) or _name(path).startswith(("LICENSE", "README"))


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _name(path: str) -> str:
    return path.rpartition("/")[2]
