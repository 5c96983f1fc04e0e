"""adapters: what a target serves on its base"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0008"
branch_labels = None
depends_on = None

SCHEMA = "inference_gateway"


def upgrade() -> None:
    op.add_column("target", sa.Column("adapters", sa.JSON(), nullable=False, server_default="[]"), schema=SCHEMA)
