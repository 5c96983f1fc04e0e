"""Python client of Gyre: `from gyre_sdk import Gyre`.

>>> gyre = Gyre()                                     # GYRE_URL, GYRE_API_KEY, GYRE_PROJECT, or the Gyre of this folder
>>> version = gyre.datasets.import_file("hotline.jsonl", "hotline")
>>> run = gyre.runs.wait(gyre.runs.create(method="SFT", base=..., datasets=[version.name]).name)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gyre_sdk.client import Gyre
    from gyre_sdk.errors import GyreError

__all__ = ["Gyre", "GyreError"]


def __getattr__(name: str) -> object:
    """Loaded at first use, so that `gyre --help` does not pay for HTTP and protobuf."""
    if name == "Gyre":
        from gyre_sdk.client import Gyre

        return Gyre
    if name == "GyreError":
        from gyre_sdk.errors import GyreError

        return GyreError
    raise AttributeError(name)
