"""what a run made is compared with what another made, and what it will cost is told"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SCHEMA = "training_scheduler"


def upgrade() -> None:
    for name, kind, default in (
        ("content_digest", sa.Text(), ""),
        ("held_seconds", sa.Float(), "0"),
        ("flavor", sa.Text(), ""),
    ):
        op.add_column("run", sa.Column(name, kind, nullable=False, server_default=default), schema=SCHEMA)
        op.alter_column("run", name, server_default=None, schema=SCHEMA)
