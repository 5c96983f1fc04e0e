"""calibrated variants"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("calibration", "calibration_uri", "calibration_digest"):
        column = sa.Column(name, sa.Text(), nullable=False, server_default="")
        op.add_column("variant", column, schema="model_registry")
        op.alter_column("variant", name, server_default=None, schema="model_registry")
