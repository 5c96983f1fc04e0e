"""bounds of replicas that change with the time of the week"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    column = sa.Column("schedule", sa.JSON(), nullable=False, server_default="{}")
    op.add_column("deployment", column, schema="inference_gateway")
    op.alter_column("deployment", "schedule", server_default=None, schema="inference_gateway")
