"""a workload may be for one flavor alone"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    column = sa.Column("only_flavor", sa.Text(), nullable=False, server_default="")
    op.add_column("workload", column, schema="gpu_scheduler")
    op.alter_column("workload", "only_flavor", server_default=None, schema="gpu_scheduler")
