"""what is compared goes with what is deleted"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

SCHEMA = "inference_gateway"


def upgrade() -> None:
    op.create_index(
        "ix_inference_gateway_completion_shadow_of",
        "completion",
        ["shadow_of"],
        schema=SCHEMA,
        postgresql_where=sa.text("shadow_of <> ''"),
    )
    for name, columns in INDEXES.items():
        op.create_index(f"ix_inference_gateway_shadowpair_{name}", "shadowpair", columns, schema=SCHEMA)


def downgrade() -> None:
    for name in INDEXES:
        op.drop_index(f"ix_inference_gateway_shadowpair_{name}", "shadowpair", schema=SCHEMA)
    op.drop_index("ix_inference_gateway_completion_shadow_of", "completion", schema=SCHEMA)


INDEXES = {
    "completion": ["completion"],
    "shadow_completion": ["shadow_completion"],
    "project_time": ["project", "create_time"],
}
