"""traces: what belongs together, steps of applications, and how long all of it is kept"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from gyre_kit.migrate import protect

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SCHEMA = "inference_gateway"
WHEN = sa.DateTime(timezone=True)


def upgrade() -> None:
    _completions()
    _traces()
    _spans()
    protect(SCHEMA, "trace", "span")
    _fill_traces()
    for column, kind, default in (
        ("keep_personal_data", sa.Boolean(), "true"),  # projects that are there consented to all of it
        ("retention_days", sa.Integer(), "0"),
    ):
        op.add_column("knownproject", sa.Column(column, kind, nullable=False, server_default=default), schema=SCHEMA)


def _completions() -> None:
    for column, kind, default in (
        ("session", sa.Text(), ""),
        ("trace", sa.Text(), ""),
        ("span_id", sa.Text(), ""),
        ("parent_span_id", sa.Text(), ""),
        ("tool_calls", sa.JSON(), "[]"),
        ("error", sa.Text(), ""),
        ("cached_tokens", sa.Integer(), "0"),
        ("cost_microusd", sa.Float(), "0"),
        ("rating", sa.Text(), ""),
    ):
        op.add_column("completion", sa.Column(column, kind, nullable=False, server_default=default), schema=SCHEMA)
    op.create_index("ix_inference_gateway_completion_trace", "completion", ["trace"], schema=SCHEMA)
    op.create_index(
        "ix_inference_gateway_completion_project_time", "completion", ["project", "create_time"], schema=SCHEMA
    )
    op.create_index(
        "ix_inference_gateway_completion_session",
        "completion",
        ["project", "session"],
        schema=SCHEMA,
        postgresql_where=sa.text("session <> ''"),
    )


def _traces() -> None:
    op.create_table(
        "trace",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("session", sa.Text(), nullable=False),
        sa.Column("start_time", WHEN, nullable=False),
        sa.Column("end_time", WHEN, nullable=False),
        sa.Column("duration_ms", sa.Float(), nullable=False),
        sa.Column("opening", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("completion_count", sa.Integer(), nullable=False),
        sa.Column("span_count", sa.Integer(), nullable=False),
        sa.Column("error_count", sa.Integer(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("total_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost_microusd", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        schema=SCHEMA,
    )
    op.create_index("ix_inference_gateway_trace_project_start", "trace", ["project", "start_time"], schema=SCHEMA)
    op.create_index("ix_inference_gateway_trace_session", "trace", ["session"], schema=SCHEMA)


def _spans() -> None:
    op.create_table(
        "span",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("trace", sa.Text(), nullable=False),
        sa.Column("session", sa.Text(), nullable=False),
        sa.Column("span_id", sa.Text(), nullable=False),
        sa.Column("parent_span_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("start_time", WHEN, nullable=False),
        sa.Column("duration_ms", sa.Float(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("input", sa.Text(), nullable=False),
        sa.Column("output", sa.Text(), nullable=False),
        sa.Column("attributes_json", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        schema=SCHEMA,
    )
    op.create_index("ix_inference_gateway_span_trace", "span", ["trace"], schema=SCHEMA)
    op.create_index("ix_inference_gateway_span_session", "span", ["session"], schema=SCHEMA)
    op.create_index("ix_inference_gateway_span_project_start", "span", ["project", "start_time"], schema=SCHEMA)


def _fill_traces() -> None:
    """Completions that were kept before are traces of their own; their letters become searchable as they are."""
    escaped = "strpos(messages::text, '\\u') > 0 AND strpos(messages::text, '\\u0000') = 0"  # jsonb takes no NUL
    op.execute(f"UPDATE {SCHEMA}.completion SET messages = messages::jsonb::json WHERE {escaped}")
    op.execute(
        f"UPDATE {SCHEMA}.completion SET trace = 'projects/' || project || '/traces/' || md5(name), "
        "span_id = left(md5(name), 16)"
    )
    op.execute(
        f"INSERT INTO {SCHEMA}.trace SELECT trace, project, '', create_time - duration_ms * interval '1 millisecond', "
        "create_time, duration_ms, '', deployment, model_version, 1, 0, "
        "CASE WHEN finish_reason = 'upstream_error' THEN 1 ELSE 0 END, "
        "coalesce((usage->>'prompt_tokens')::bigint, 0), coalesce((usage->>'completion_tokens')::bigint, 0), "
        f"coalesce((usage->>'total_tokens')::bigint, 0), 0 FROM {SCHEMA}.completion"
    )
