"""A tiny model in the registry: what tests and screenshots train and serve in seconds."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from pathlib import Path

from gyre_sdk.client import Gyre
from gyre_trainers.testing import texts_of, tiny_llama


def tiny_base(gyre: Gyre, folder: Path, lines: Iterable[str], hidden: int = 64) -> str:
    """Makes a tiny random Llama in `folder`, its tokenizer from the JSON `lines`, and imports it as `tiny`.

    Returns the name of the READY version.
    """
    model = tiny_llama(folder / "model", texts_of(json.loads(line) for line in lines), hidden=hidden)
    archive = folder / "tiny.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for path in model.iterdir():
            opened.write(path, path.name)
    gyre.models.create("tiny", display_name="Tiny", licence="CC0-1.0", origin="made on the spot")
    version = gyre.models.import_version("tiny", gyre.datasets.upload(archive).uri)
    return gyre.models.wait_version(version.name, timeout=300).name
