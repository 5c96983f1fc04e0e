"""limits of keys and projects, prices and places of targets"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SCHEMA = "inference_gateway"


def upgrade() -> None:
    for table in ("knownkey", "knownproject"):
        op.add_column(table, sa.Column("limits", sa.JSON(), nullable=False, server_default="{}"), schema=SCHEMA)
    for table, column, kind in (
        ("knownkey", "expire_unix_seconds", sa.BigInteger()),
        ("knownproject", "requests_per_minute", sa.Integer()),
        ("target", "input_price_microusd", sa.BigInteger()),
        ("target", "output_price_microusd", sa.BigInteger()),
        ("target", "places", sa.Integer()),
    ):
        op.add_column(table, sa.Column(column, kind, nullable=False, server_default="0"), schema=SCHEMA)
