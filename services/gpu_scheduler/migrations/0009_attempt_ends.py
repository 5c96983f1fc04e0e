"""every attempt that gave way says to whom"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    column = sa.Column("preempted_for", sa.Text(), nullable=False, server_default="")
    op.add_column("attempt", column, schema="gpu_scheduler")
    op.alter_column("attempt", "preempted_for", server_default=None, schema="gpu_scheduler")
