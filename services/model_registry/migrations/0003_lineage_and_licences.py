"""lineage as of a time, licences, card texts"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from gyre_kit.migrate import protect

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SCHEMA = "model_registry"


def upgrade() -> None:
    _date_edges()
    op.create_table(
        "serving",
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("served", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("weight_percent", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("deployment", "time", "served"),
        schema=SCHEMA,
    )
    op.create_index("serving_by_served", "serving", ["served"], schema=SCHEMA)
    op.create_index("serving_by_alias", "serving", ["alias"], schema=SCHEMA)
    op.create_index(op.f("ix_model_registry_serving_project"), "serving", ["project"], schema=SCHEMA)
    op.create_table(
        "knowndata",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("licence", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("row_count", sa.BigInteger(), nullable=False),
        sa.Column("adds_rows", sa.Boolean(), nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("licence_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        schema=SCHEMA,
    )
    op.create_index(op.f("ix_model_registry_knowndata_project"), "knowndata", ["project"], schema=SCHEMA)
    refused = [
        sa.Column("refuse_terms", sa.JSON(), nullable=False),
        sa.Column("refuse_unknown", sa.Boolean(), nullable=False),
    ]
    _create_resource("licencepolicy", *refused)
    _create_resource("cardtext", sa.Column("sections", sa.JSON(), nullable=False))
    protect(SCHEMA, "serving", "knowndata", "licencepolicy", "cardtext")


def _date_edges() -> None:
    """Where an alias points follows from its moves; every other edge is as old as the younger of its ends."""
    op.execute(f"DELETE FROM {SCHEMA}.edge WHERE relation IN ('promoted_to', 'allowed')")
    op.add_column("edge", sa.Column("time", sa.DateTime(timezone=True)), schema=SCHEMA)
    op.execute(
        f"""
        UPDATE {SCHEMA}.edge SET time = coalesce(
            (SELECT create_time FROM {SCHEMA}.variant WHERE name = edge.target),
            (SELECT create_time FROM {SCHEMA}.version WHERE name = edge.target),
            (SELECT create_time FROM {SCHEMA}.version WHERE run = edge.target),
            (SELECT min(create_time) FROM {SCHEMA}.aliasmove WHERE verdict = edge.target),
            now())
        """
    )
    op.alter_column("edge", "time", nullable=False, schema=SCHEMA)
    op.create_index("edge_by_target", "edge", ["target"], schema=SCHEMA)


def _create_resource(table: str, *columns: sa.Column) -> None:  # type: ignore[type-arg]
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
        sa.Column("updated_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        schema=SCHEMA,
    )
    for column in ("project", "request_id"):
        op.create_index(op.f(f"ix_{SCHEMA}_{table}_{column}"), table, [column], schema=SCHEMA)
