"""what is kept of completions, and for how long"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column, kind, default in (
        ("keep_personal_data", sa.Boolean(), "true"),  # projects that are there consented to all of it
        ("retention_days", sa.Integer(), "0"),
    ):
        op.add_column("project", sa.Column(column, kind, nullable=False, server_default=default), schema="api_gateway")
