"""what each class of work was measured to do on each flavor; queues have budgets"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name, kind, default in (("budget_microusd", sa.BigInteger(), "0"), ("budget_period", sa.Text(), "MONTH")):
        op.add_column("queue", sa.Column(name, kind, nullable=False, server_default=default), schema="gpu_scheduler")
        op.alter_column("queue", name, server_default=None, schema="gpu_scheduler")
    op.execute(
        "CREATE TRIGGER count_topology_by_budget AFTER UPDATE OF budget_microusd, budget_period ON gpu_scheduler.queue "
        "FOR EACH STATEMENT EXECUTE FUNCTION gpu_scheduler.count_topology()"
    )
    op.create_table(
        "throughput",
        sa.Column("throughput_class", sa.Text(), nullable=False),
        sa.Column("cards", sa.Integer(), nullable=False),
        sa.Column("flavor", sa.Text(), nullable=False),
        sa.Column("rate", sa.Float(), nullable=False),
        sa.Column("samples", sa.Integer(), nullable=False),
        sa.Column("update_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("throughput_class", "cards", "flavor"),
        schema="gpu_scheduler",
    )
