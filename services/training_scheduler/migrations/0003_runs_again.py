"""a run again is compared with the first by what both made"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SCHEMA = "training_scheduler"


def upgrade() -> None:
    op.add_column("run", sa.Column("content_digest", sa.Text(), nullable=False, server_default=""), schema=SCHEMA)
    op.alter_column("run", "content_digest", server_default=None, schema=SCHEMA)
