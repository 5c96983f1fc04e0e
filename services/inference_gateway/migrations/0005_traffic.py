"""shadows, experiments, fallbacks, regions"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from gyre_kit.migrate import protect

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SCHEMA = "inference_gateway"


def upgrade() -> None:
    for table, column, kind, default in (
        ("deployment", "fallbacks", sa.JSON(), "[]"),
        ("deployment", "fallback_seconds", sa.Float(), "0"),
        ("deployment", "experiment", sa.Text(), ""),
        ("target", "region", sa.Text(), ""),
        ("target", "shadow_percent", sa.Integer(), "0"),
        ("completion", "shadow_of", sa.Text(), ""),
        # Whoever served before there was such a rule goes on; api_gateway says what holds from now on.
        ("knownproject", "regions", sa.JSON(), '["*"]'),
    ):
        op.add_column(table, sa.Column(column, kind, nullable=False, server_default=default), schema=SCHEMA)
        op.alter_column(table, column, server_default=None, schema=SCHEMA)
    _create_resource(
        "shadowpair",
        sa.Column("shadow", sa.Text(), nullable=False),
        sa.Column("completion", sa.Text(), nullable=False),
        sa.Column("shadow_completion", sa.Text(), nullable=False),
        sa.Column("agrees", sa.Boolean(), nullable=False),
        sa.Column("similarity", sa.Float(), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.Column("shadow_length", sa.Integer(), nullable=False),
        sa.Column("duration_ms", sa.Float(), nullable=False),
        sa.Column("shadow_duration_ms", sa.Float(), nullable=False),
        sa.Column("failure_reason", sa.Text(), nullable=False),
        indexes=("shadow",),
    )
    _create_resource(
        "experiment",
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("a", sa.JSON(), nullable=False),
        sa.Column("b", sa.JSON(), nullable=False),
        sa.Column("min_effect", sa.Float(), nullable=False),
        sa.Column("error_chance", sa.Float(), nullable=False),
        sa.Column("bucket", sa.Integer(), nullable=True),
        sa.Column("difference", sa.Float(), nullable=False),
        sa.Column("low", sa.Float(), nullable=False),
        sa.Column("high", sa.Float(), nullable=False),
        sa.Column("winner", sa.Text(), nullable=False),
        sa.Column("history", sa.JSON(), nullable=False),
        sa.Column("rollout", sa.Text(), nullable=False),
        sa.Column("failure_reason", sa.Text(), nullable=False),
        sa.Column("failure_message", sa.Text(), nullable=False),
        sa.Column("end_time", sa.DateTime(timezone=True), nullable=True),
        sa.UniqueConstraint("deployment", "number"),
        sa.UniqueConstraint("project", "request_id"),
        indexes=("deployment", "state"),
    )
    op.create_table(
        "sentout",
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("upstream", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("prompt_count", sa.BigInteger(), nullable=False),
        sa.Column("last_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("project", "upstream", "region"),
        schema=SCHEMA,
    )
    protect(SCHEMA, "shadowpair", "experiment", "sentout")


def _create_resource(table: str, *columns: Any, indexes: tuple[str, ...]) -> None:
    op.create_table(
        table,
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("update_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        *columns,
        sa.PrimaryKeyConstraint("name"),
        schema=SCHEMA,
    )
    for column in ("project", "request_id", *indexes):
        op.create_index(op.f(f"ix_{SCHEMA}_{table}_{column}"), table, [column], schema=SCHEMA)
