"""uploads in parts, adapters as variants"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from gyre_kit.migrate import protect

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SCHEMA = "model_registry"


def upgrade() -> None:
    op.add_column("variant", sa.Column("source", sa.Text(), nullable=False, server_default=""), schema=SCHEMA)
    op.alter_column("variant", "source", server_default=None, schema=SCHEMA)
    op.create_table(
        "modelupload",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("update_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("received_bytes", sa.BigInteger(), nullable=False),
        sa.Column("used_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        sa.UniqueConstraint("project", "request_id"),
        schema=SCHEMA,
    )
    for column in ("project", "request_id", "state"):
        op.create_index(op.f(f"ix_{SCHEMA}_modelupload_{column}"), "modelupload", [column], schema=SCHEMA)
    op.create_table(
        "uploadpart",
        sa.Column("upload", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("upload", "path", "number"),
        schema=SCHEMA,
    )
    op.create_index(op.f(f"ix_{SCHEMA}_uploadpart_project"), "uploadpart", ["project"], schema=SCHEMA)
    protect(SCHEMA, "modelupload", "uploadpart")
