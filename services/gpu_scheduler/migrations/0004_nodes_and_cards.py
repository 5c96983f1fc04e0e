"""nodes are cordoned, drained, lost, gone and fenced; cards have makers, links and faults; flavors a price of their own"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TEXT, WHOLE, REAL = (sa.Text(), "''"), (sa.Integer(), "0"), (sa.Float(), "0")
YES_NO, LIST = (sa.Boolean(), "false"), (sa.JSON(), "'[]'")
TIME = (sa.DateTime(timezone=True), None)

ADDED = {
    "node": {
        "wanted_state": (sa.Text(), "'READY'"),
        "machine_id": TEXT,
        "boot_id": TEXT,
        "look_time": TIME,
        "silent_seconds": REAL,
    },
    "card": {
        "maker": TEXT,
        "link_group": WHOLE,
        "driver_version": TEXT,
        "mig_enabled": YES_NO,
        "missing_looks": WHOLE,
        "fault_code": TEXT,
        "fault_message": TEXT,
        "fault_time": TIME,
        "fault_keys": LIST,
        "acknowledged": LIST,
        "warnings": LIST,
    },
    "flavor": {"price_source": TEXT, "set_by_operator": LIST, "revision": (sa.Integer(), "1")},
    "attempt": {"end_reason": TEXT, "unconfirmed": YES_NO},
}


def upgrade() -> None:
    for table, columns in ADDED.items():
        for name, (kind, default) in columns.items():
            server_default = None if default is None else sa.text(default)
            column = sa.Column(name, kind, nullable=default is None, server_default=server_default)
            op.add_column(table, column, schema="gpu_scheduler")
            if default is not None:
                op.alter_column(table, name, server_default=None, schema="gpu_scheduler")
    op.execute(
        "CREATE TRIGGER count_topology_by_health AFTER UPDATE OF fault_code, link_group ON gpu_scheduler.card "
        "FOR EACH STATEMENT EXECUTE FUNCTION gpu_scheduler.count_topology()"
    )
    op.create_index(
        "ix_gpu_scheduler_attempt_unconfirmed", "attempt", ["node"], schema="gpu_scheduler",
        postgresql_where=sa.text("unconfirmed"),
    )  # fmt: skip
