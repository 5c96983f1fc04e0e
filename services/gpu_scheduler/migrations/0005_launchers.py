"""which launcher runs an attempt, on which nodes, and how it is found again"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SCHEMA = "gpu_scheduler"
ADDED = (
    ("node", "launcher", sa.Text(), "local"),
    ("node", "place", sa.Text(), ""),
    ("node", "address", sa.Text(), ""),
    ("attempt", "launcher", sa.Text(), "local"),
    ("attempt", "members", sa.JSON(), "[]"),
    ("attempt", "handle", sa.JSON(), "{}"),
)


def upgrade() -> None:
    for table, name, kind, default in ADDED:
        op.add_column(table, sa.Column(name, kind, nullable=False, server_default=default), schema=SCHEMA)
        op.alter_column(table, name, server_default=None, schema=SCHEMA)
    op.execute(
        "UPDATE gpu_scheduler.attempt SET handle = json_build_object('pid', pid, 'started', pid_started) WHERE pid > 0"
    )
    op.drop_column("attempt", "pid", schema=SCHEMA)
    op.drop_column("attempt", "pid_started", schema=SCHEMA)
