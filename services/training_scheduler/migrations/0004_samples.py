"""what a model answered while it learnt"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from gyre_kit.migrate import protect

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SCHEMA = "training_scheduler"


def upgrade() -> None:
    op.create_table(
        "run_sample",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("expected", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        schema=SCHEMA,
    )
    for column in ("project", "run"):
        op.create_index(op.f(f"ix_training_scheduler_run_sample_{column}"), "run_sample", [column], schema=SCHEMA)
    protect(SCHEMA, "run_sample")
