"""priority classes, bounds of cluster queues, and a time that no clock can set forward"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

SCHEMA = "gpu_scheduler"
ADDED = (
    ("clusterqueue", "projects", sa.JSON(), "[]"),
    ("workload", "priority_class", sa.Text(), ""),
    ("workload", "admit_seconds", sa.Float(), "0"),
)


def upgrade() -> None:
    for table, name, kind, default in ADDED:
        op.add_column(table, sa.Column(name, kind, nullable=False, server_default=default), schema=SCHEMA)
        op.alter_column(table, name, server_default=None, schema=SCHEMA)
    op.add_column("clusterqueue", sa.Column("max_priority", sa.Integer(), nullable=True), schema=SCHEMA)
    op.create_table(
        "priorityclass",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Integer(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        schema=SCHEMA,
    )
    op.create_table(
        "steadytime",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("look_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        schema=SCHEMA,
    )
    op.create_index(
        "workload_waiting", "workload", ["project"], postgresql_where=sa.text("state = 'QUEUED'"), schema=SCHEMA
    )
