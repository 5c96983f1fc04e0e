"""who caused a workload, usage by day, and what there was to give"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from gyre_kit.migrate import protect

revision = "0006"
down_revision = "0004"
branch_labels = None
depends_on = None

SCHEMA = "gpu_scheduler"


def upgrade() -> None:
    _add("workload", sa.Column("user", sa.Text(), nullable=False, server_default=""))
    op.execute("""UPDATE gpu_scheduler.workload SET "user" = created_by""")
    _add("attempt", sa.Column("preempted", sa.Boolean(), nullable=False, server_default=sa.false()))
    _add("attempt", sa.Column("rolled_up", sa.Boolean(), nullable=False, server_default=sa.false()))
    _index("attempt_not_rolled_up", "admit_time", where="NOT rolled_up")
    _index("attempt_preempted", "end_time", where="preempted")
    _index("attempt_admit_time", "admit_time")
    _index("attempt_end_time", "end_time")
    op.create_table(
        "usageday",
        sa.Column("day", sa.DateTime(timezone=True), primary_key=True),
        *(sa.Column(name, sa.Text(), primary_key=True) for name in ("project", "user", "queue", "flavor", "kind")),
        *(sa.Column(n, sa.Numeric(), nullable=False) for n in ("held_us", "core_milli_us", "card_milli_us", "cost")),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("attempt_count", "preemption_count")),
        schema=SCHEMA,
    )
    op.create_table(
        "capacityspan",
        sa.Column("node", sa.Text(), primary_key=True),
        sa.Column("start_time", sa.DateTime(timezone=True), primary_key=True),
        sa.Column("end_time", sa.DateTime(timezone=True), nullable=True, index=True),
        sa.Column("seen_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("flavor", sa.Text(), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("cpu_milli", "cards", "simulated_cards")),
        schema=SCHEMA,
    )
    protect(SCHEMA, "usageday")


def _add(table: str, column: sa.Column[object]) -> None:
    op.add_column(table, column, schema=SCHEMA)
    op.alter_column(table, column.name, server_default=None, schema=SCHEMA)


def _index(name: str, column: str, where: str = "") -> None:
    op.create_index(name, "attempt", [column], schema=SCHEMA, postgresql_where=sa.text(where) if where else None)
