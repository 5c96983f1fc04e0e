"""replicas that are guaranteed"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    column = sa.Column("guaranteed", sa.Boolean(), nullable=False, server_default=sa.false())
    op.add_column("workload", column, schema="gpu_scheduler")
    op.alter_column("workload", "guaranteed", server_default=None, schema="gpu_scheduler")
