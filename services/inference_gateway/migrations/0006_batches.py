"""files and batches"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from gyre_kit.migrate import protect

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SCHEMA = "inference_gateway"


def upgrade() -> None:
    op.create_table(
        "storedfile",
        *_resource(),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        schema=SCHEMA,
    )
    texts = (
        "state",
        "endpoint",
        "window",
        "api_key",
        "input_file",
        "output_file",
        "error_file",
        "source_version",
        "model",
        "system",
        "result_dataset",
        "result_version",
        "failure_reason",
        "failure_message",
    )
    counts = ("number", "max_tokens", "total_count", "completed_count", "failed_count")
    times = ("lease_until", "due", "start_time", "finalize_time", "cancel_time", "end_time")
    op.create_table(
        "inferencebatch",
        *_resource(),
        *(sa.Column(name, sa.Text(), nullable=False) for name in texts),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in counts),
        *(sa.Column(name, sa.JSON(), nullable=False) for name in ("details", "model_versions", "errors")),
        *(sa.Column(name, sa.DateTime(timezone=True), nullable=True) for name in times),
        sa.Column("lease_token", sa.Text(), nullable=True),
        sa.Column("temperature", sa.Float(), nullable=True),
        sa.Column("expire_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        sa.UniqueConstraint("project", "request_id"),
        schema=SCHEMA,
    )
    for table, columns in (
        ("storedfile", ("project", "purpose", "request_id")),
        ("inferencebatch", ("input_file", "number", "project", "request_id", "source_version", "state")),
    ):
        for column in columns:
            op.create_index(op.f(f"ix_{SCHEMA}_{table}_{column}"), table, [column], schema=SCHEMA)
    protect(SCHEMA, "storedfile", "inferencebatch")


def _resource() -> list[sa.Column[object]]:
    """The columns of every resource."""
    texts = ("name", "project", "display_name", "created_by")
    return [
        *(sa.Column(name, sa.Text(), nullable=False) for name in texts),
        *(sa.Column(name, sa.DateTime(timezone=True), nullable=False) for name in ("create_time", "update_time")),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
    ]
