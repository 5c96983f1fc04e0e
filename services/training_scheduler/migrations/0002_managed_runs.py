"""runs are paused, stopped early and forked, and alarms are kept"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from gyre_kit.migrate import protect
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCHEMA = "training_scheduler"


def upgrade() -> None:
    for name, kind, default in (
        ("forked_from", sa.Text(), ""),
        ("stopped_early", sa.Boolean(), sa.false()),
        ("held", sa.Boolean(), sa.false()),
        ("stopped_by", sa.Text(), ""),
    ):
        op.add_column("run", sa.Column(name, kind, nullable=False, server_default=default), schema=SCHEMA)
        op.alter_column("run", name, server_default=None, schema=SCHEMA)
    op.create_table(
        "alarm",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("values", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        schema=SCHEMA,
    )
    for column in ("project", "run"):
        op.create_index(op.f(f"ix_training_scheduler_alarm_{column}"), "alarm", [column], schema=SCHEMA)
    protect(SCHEMA, "alarm")
