"""rollouts, and targets that stand by"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from gyre_kit.migrate import protect

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCHEMA = "inference_gateway"


def upgrade() -> None:
    op.create_table(
        "rollout",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("update_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("before", sa.JSON(), nullable=False),
        sa.Column("after", sa.JSON(), nullable=False),
        sa.Column("steps", sa.JSON(), nullable=False),
        sa.Column("step_seconds", sa.Float(), nullable=False),
        sa.Column("step_times", sa.JSON(), nullable=False),
        sa.Column("guard", sa.JSON(), nullable=False),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.Column("reverts", sa.Text(), nullable=False),
        sa.Column("failure_reason", sa.Text(), nullable=False),
        sa.Column("failure_message", sa.Text(), nullable=False),
        sa.Column("end_time", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("name"),
        sa.UniqueConstraint("deployment", "number"),
        sa.UniqueConstraint("project", "request_id"),
        schema=SCHEMA,
    )
    for column in ("deployment", "project", "request_id", "state"):
        op.create_index(op.f(f"ix_inference_gateway_rollout_{column}"), "rollout", [column], schema=SCHEMA)
    protect(SCHEMA, "rollout")
    for column in ("alias_refused", "rollout"):
        op.add_column("deployment", sa.Column(column, sa.Text(), nullable=False, server_default=""), schema=SCHEMA)
        op.alter_column("deployment", column, server_default=None, schema=SCHEMA)
    for column in ("liked", "disliked"):
        op.add_column("target", sa.Column(column, sa.Integer(), nullable=False, server_default="0"), schema=SCHEMA)
        op.alter_column("target", column, server_default=None, schema=SCHEMA)
    op.add_column("target", sa.Column("standby_time", sa.DateTime(timezone=True), nullable=True), schema=SCHEMA)
    # A split that is on its way counts as in force: who has a share of it and does not answer yet is asked last.
    op.execute("SELECT set_config('gyre.project', '*', true)")
    op.execute(
        f"UPDATE {SCHEMA}.target SET weight_percent = wanted_percent FROM {SCHEMA}.deployment "
        "WHERE target.deployment = deployment.name AND deployment.shifting"
    )
    op.drop_column("target", "wanted_percent", schema=SCHEMA)
    op.drop_column("deployment", "shifting", schema=SCHEMA)
    op.drop_column("deployment", "shift_request", schema=SCHEMA)
