"""what was used, by hour"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from gyre_kit.migrate import protect

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

SCHEMA = "inference_gateway"


def upgrade() -> None:
    op.create_table(
        "usage",
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("api_key", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("upstream_model", sa.Text(), nullable=False),
        sa.Column("request_count", sa.BigInteger(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost_picousd", sa.Numeric(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "project", "api_key", "deployment", "target"),
        schema=SCHEMA,
    )
    protect(SCHEMA, "usage")
    op.create_table(
        "usagesegment",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("store_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        schema=SCHEMA,
    )
    op.create_index(op.f("ix_inference_gateway_usagesegment_store_time"), "usagesegment", ["store_time"], schema=SCHEMA)
