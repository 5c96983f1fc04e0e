"""traffic policies, and prompts with versions"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from gyre_kit.migrate import protect

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

SCHEMA = "inference_gateway"


def upgrade() -> None:
    for column, kind, default in (
        ("prompt", sa.Text(), ""),
        ("guardrails", sa.JSON(), "[]"),
        ("cached", sa.Boolean(), "false"),
    ):
        op.add_column("completion", sa.Column(column, kind, nullable=False, server_default=default), schema=SCHEMA)
        op.alter_column("completion", column, server_default=None, schema=SCHEMA)
    op.create_index(
        "ix_inference_gateway_completion_prompt",
        "completion",
        ["project", "prompt"],
        schema=SCHEMA,
        postgresql_where=sa.text("prompt <> ''"),
    )
    _create_resource("trafficpolicy", *_not_null("prompt_data", "answer_data", "injection"), *_json("hook", "cache"))
    _create_resource("prompt", sa.Column("newest_version", sa.Integer(), nullable=False), *_json("labels", "history"))
    _create_resource(
        "promptversion",
        *_not_null("prompt", "comment"),
        sa.Column("number", sa.Integer(), nullable=False),
        *_json("messages", "parameters", "uses"),
        sa.UniqueConstraint("prompt", "number"),
    )
    op.create_index(f"ix_{SCHEMA}_promptversion_prompt", "promptversion", ["prompt"], schema=SCHEMA)
    protect(SCHEMA, "trafficpolicy", "prompt", "promptversion")


def _not_null(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _json(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.JSON(), nullable=False) for name in names]


def _create_resource(table: str, *columns: Any) -> None:
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
    for column in ("project", "request_id"):
        op.create_index(op.f(f"ix_{SCHEMA}_{table}_{column}"), table, [column], schema=SCHEMA)
