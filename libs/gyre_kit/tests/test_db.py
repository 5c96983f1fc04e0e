"""The way into PostgreSQL."""

from __future__ import annotations

from typing import Any

import pytest
from gyre_kit.db import Database, DatabaseAway


async def test_a_database_that_lets_nobody_in_counts_as_away(db: Database, refusing: Any) -> None:
    async with refusing():
        with pytest.raises(DatabaseAway, match="too many connections"):
            async with db.transaction():
                pass
    async with db.transaction():
        pass
