"""where rented engines may compute for a project"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Projects from before there was such a rule go on as they were; new ones begin with own hardware only.
    regions = sa.Column("regions", sa.JSON(), nullable=False, server_default='["*"]')
    op.add_column("project", regions, schema="api_gateway")
    op.alter_column("project", "regions", server_default=None, schema="api_gateway")
