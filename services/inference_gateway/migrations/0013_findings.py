"""what guardrails found and the exact cache did, by the hour"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from gyre_kit.migrate import protect

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

SCHEMA = "inference_gateway"


def upgrade() -> None:
    op.create_table(
        "finding",
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("last_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("project", "hour", "what", "action"),
        schema=SCHEMA,
    )
    protect(SCHEMA, "finding")
