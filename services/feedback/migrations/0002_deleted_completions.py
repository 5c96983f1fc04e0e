"""feedback whose completion was deleted"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    column = sa.Column("completion_deleted", sa.Boolean(), nullable=False, server_default="false")
    op.add_column("feedback", column, schema="feedback")
    op.alter_column("feedback", "completion_deleted", server_default=None, schema="feedback")


def downgrade() -> None:
    op.drop_column("feedback", "completion_deleted", schema="feedback")
