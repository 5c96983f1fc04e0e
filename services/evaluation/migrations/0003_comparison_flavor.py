"""a comparison may be measured on one flavor alone"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    column = sa.Column("only_flavor", sa.Text(), nullable=False, server_default="")
    op.add_column("comparison", column, schema="evaluation")
    op.alter_column("comparison", "only_flavor", server_default=None, schema="evaluation")
