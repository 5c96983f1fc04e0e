"""cohorts, what a decision needs to know of a workload, and which rows changed since one last looked"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SCHEMA = "gpu_scheduler"
WORKLOAD = (
    ("gpu_milli", sa.Integer(), "0"),
    ("max_run_seconds", sa.Float(), "0"),
    ("throughput_class", sa.Text(), ""),
    ("ran_seconds", sa.Float(), "0"),
    ("preemptions", sa.Integer(), "0"),
    ("preempted_for", sa.Text(), ""),
    ("preemption_rule", sa.Text(), ""),
    ("promised", sa.JSON(), "{}"),
    ("held", sa.Boolean(), "false"),
)
CLUSTER_QUEUE = (
    ("cohort", sa.Text(), ""),
    ("weight", sa.Float(), "1"),
    ("strict", sa.Boolean(), "false"),
    ("preemption", sa.JSON(), "{}"),
    ("revision", sa.Integer(), "1"),
)
# What a cycle has to know of; a lease, a sample or a heartbeat is none of it.
LOOKED_AT = ("state", "attempt", "queue", "priority", "not_before", "held", "stop_reason")
TOPOLOGY = {
    "node": ("state", "flavor", "cpu_milli", "memory_bytes", "gpu"),
    "card": ("present", "uuid"),
    "flavor": ("node_labels",),
    "queue": ("state", "cluster_queue", "priority"),
    "clusterqueue": ("quotas", "cohort", "weight", "strict", "preemption"),
    "cohort": ("quotas", "parent", "weight"),
}


def upgrade() -> None:
    for table, columns in (("workload", WORKLOAD), ("clusterqueue", CLUSTER_QUEUE)):
        for name, kind, default in columns:
            op.add_column(table, sa.Column(name, kind, nullable=False, server_default=default), schema=SCHEMA)
            op.alter_column(table, name, server_default=None, schema=SCHEMA)
    op.add_column("attempt", sa.Column("gpu_milli", sa.Integer(), nullable=False, server_default="0"), schema=SCHEMA)
    op.alter_column("attempt", "gpu_milli", server_default=None, schema=SCHEMA)
    op.add_column("attempt", sa.Column("placement", sa.JSON(), nullable=False, server_default="[]"), schema=SCHEMA)
    op.alter_column("attempt", "placement", server_default=None, schema=SCHEMA)
    op.create_table(
        "cohort",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("parent", sa.Text(), nullable=False),
        sa.Column("quotas", sa.JSON(), nullable=False),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        schema=SCHEMA,
    )
    _say_what_changed()
    _count_topologies()


def _say_what_changed() -> None:
    """`change` is the transaction that last touched what a cycle looks at; unlike a sequence's number it can be compared
    with the oldest transaction that is still open, so that nothing committed late is missed."""
    op.add_column("workload", sa.Column("change", sa.BigInteger(), nullable=False, server_default="0"), schema=SCHEMA)
    op.alter_column("workload", "change", server_default=None, schema=SCHEMA)
    op.create_index(op.f("ix_gpu_scheduler_workload_change"), "workload", ["change"], schema=SCHEMA)
    op.execute(
        f"CREATE FUNCTION {SCHEMA}.note_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "NEW.change := pg_current_xact_id()::text::bigint; RETURN NEW; END $$"
    )
    op.execute(
        f"CREATE TRIGGER note_change BEFORE INSERT OR UPDATE OF {', '.join(LOOKED_AT)} ON {SCHEMA}.workload "
        f"FOR EACH ROW EXECUTE FUNCTION {SCHEMA}.note_change()"
    )


def _count_topologies() -> None:
    """One version for everything but workloads: whoever sees another than before reads all of that again."""
    op.create_table(
        "topology",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        schema=SCHEMA,
    )
    op.execute(f"CREATE SEQUENCE {SCHEMA}.topology_versions")
    op.execute(
        f"CREATE FUNCTION {SCHEMA}.count_topology() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"INSERT INTO {SCHEMA}.topology VALUES (1, nextval('{SCHEMA}.topology_versions')) "
        "ON CONFLICT (id) DO UPDATE SET version = excluded.version; RETURN NULL; END $$"
    )
    for table, columns in TOPOLOGY.items():
        op.execute(
            f"CREATE TRIGGER count_topology AFTER INSERT OR DELETE OR UPDATE OF {', '.join(columns)} "
            f"ON {SCHEMA}.{table} FOR EACH STATEMENT EXECUTE FUNCTION {SCHEMA}.count_topology()"
        )
