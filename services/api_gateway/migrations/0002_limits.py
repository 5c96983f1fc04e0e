"""limits of keys and projects, and keys that expire"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("apikey", "project"):
        limits = sa.Column("limits", sa.JSON(), nullable=False, server_default="{}")
        op.add_column(table, limits, schema="api_gateway")
    op.add_column("apikey", sa.Column("expire_time", sa.DateTime(timezone=True), nullable=True), schema="api_gateway")
    per_minute = sa.Column("requests_per_minute", sa.Integer(), nullable=False, server_default="0")
    op.add_column("project", per_minute, schema="api_gateway")
