"""Keys of rented engines: they lie in the gateway's environment, and a deployment knows only their setting's name."""

from __future__ import annotations

import os
import re
from typing import Final

SETTING: Final = re.compile(r"GYRE_UPSTREAM_KEY(_[A-Z0-9_]+)?")


def setting_of(ref: str) -> str:
    """`rented` means the setting GYRE_UPSTREAM_KEY_RENTED; its full name does too."""
    return ref if SETTING.fullmatch(ref) else f"GYRE_UPSTREAM_KEY_{ref.upper()}"


def upstream_key(ref: str) -> str:
    """The key; empty where it is not set, and for a name that would lead to any other variable."""
    setting = setting_of(ref)
    return os.environ.get(setting, "") if SETTING.fullmatch(setting) else ""
