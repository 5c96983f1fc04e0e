"""replicas of a target, and how many there are"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from gyre_kit.migrate import protect

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SCHEMA = "inference_gateway"


def upgrade() -> None:
    op.create_table(
        "replica",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("update_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("workload", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("failure_reason", sa.Text(), nullable=False),
        sa.Column("failure_message", sa.Text(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("ready_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("retry_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("drain_time", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("name"),
        schema=SCHEMA,
    )
    for column in ("deployment", "id", "project", "request_id", "state", "target", "workload"):
        op.create_index(op.f(f"ix_inference_gateway_replica_{column}"), "replica", [column], schema=SCHEMA)
    protect(SCHEMA, "replica")
    _add("deployment", "min_replicas", sa.Integer(), "1")
    _add("deployment", "max_replicas", sa.Integer(), "1")
    _add("deployment", "idle_seconds", sa.Float(), "300")
    _add("target", "replicas", sa.Integer(), "0")
    _add("target", "cold_start_seconds", sa.Float(), "0")
    op.add_column("target", sa.Column("wake_time", sa.DateTime(timezone=True), nullable=True), schema=SCHEMA)
    # A target that was launched becomes one replica, which keeps its id: what runs goes on, and so do sessions.
    op.execute("SELECT set_config('gyre.project', '*', true)")
    op.execute(f"UPDATE {SCHEMA}.target SET replicas = 1 WHERE variant <> ''")
    op.execute(
        f"INSERT INTO {SCHEMA}.replica (name, project, display_name, created_by, create_time, update_time, revision, "
        "state, id, deployment, target, workload, address, failure_reason, failure_message, failures, ready_time, "
        "drain_time) SELECT deployment || '/replicas/' || id, project, '', created_by, create_time, update_time, 1, "
        "CASE state WHEN 'STANDBY' THEN 'READY' ELSE state END, id, deployment, id, workload, address, failure_reason, "
        f"failure_message, 0, ready_time, drain_time FROM {SCHEMA}.target WHERE variant <> ''"
    )
    op.drop_column("target", "workload", schema=SCHEMA)
    op.drop_column("target", "address", schema=SCHEMA)


def _add(table: str, column: str, kind: sa.types.TypeEngine[float] | sa.types.TypeEngine[int], default: str) -> None:
    op.add_column(table, sa.Column(column, kind, nullable=False, server_default=default), schema=SCHEMA)
    op.alter_column(table, column, server_default=None, schema=SCHEMA)
