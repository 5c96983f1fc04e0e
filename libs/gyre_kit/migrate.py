"""Alembic for a service: its migrations live in `services/<component>/migrations/`, and touch its own schema only.
They go forward only: what went wrong is mended by the next one.

`python -m gyre_kit.migrate revision <component> "<message>"` writes a new one from the difference between the models
and a database at head.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import op
from alembic.autogenerate import RevisionContext, compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel.sql.sqltypes import AutoString

KIT_TABLES = ("outbox", "inbox")
# A role's own schema is its default one, and Alembic does not see the tables there under the schema's name.
NO_DEFAULT_SCHEMA = {"server_settings": {"search_path": "public"}}
ALEMBIC_IS_GLOBAL = asyncio.Lock()  # `op` and `context` are modules: one migration at a time in a process


async def upgrade(url: str, component: str) -> None:
    """Brings the schema of `component` to head; an advisory lock lets one process do it at a time."""
    engine = create_async_engine(url)
    try:
        async with ALEMBIC_IS_GLOBAL, engine.begin() as connection:
            await connection.execute(
                text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": component}
            )
            await connection.execute(text("SELECT set_config('gyre.project', '*', true)"))
            await connection.run_sync(_upgrade, component)
    finally:
        await engine.dispose()


async def differences(url: str, component: str) -> list[Any]:
    """What the models have and the database has not, or the other way round; empty when they agree."""
    engine = create_async_engine(url, connect_args=NO_DEFAULT_SCHEMA)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(_differences, component)
    finally:
        await engine.dispose()


def create_kit_tables(component: str) -> None:
    """The outbox and the inbox. Called by each service's first migration."""
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("event_id", sa.Text, nullable=False, unique=True),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("headers", sa.JSON, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True)),
        sa.Column("sent_to", sa.Text),
        schema=component,
    )
    op.create_index("outbox_unsent", "outbox", ["id"], schema=component, postgresql_where=sa.text("sent_at IS NULL"))
    op.create_table(
        "inbox",
        sa.Column("consumer", sa.Text, primary_key=True),
        sa.Column("event_id", sa.Text, primary_key=True),
        sa.Column("handled_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        schema=component,
    )


def protect(component: str, *table_names: str) -> None:
    """Row-level security on tables with a `project` column: forced, for the owner too."""
    for table in table_names:
        op.execute(f'ALTER TABLE "{component}"."{table}" ENABLE ROW LEVEL SECURITY')
        op.execute(f'ALTER TABLE "{component}"."{table}" FORCE ROW LEVEL SECURITY')
        op.execute(
            f'CREATE POLICY by_project ON "{component}"."{table}" '
            "USING (current_setting('gyre.project', true) IN (project, '*'))"
        )


def _config(component: str) -> Config:
    package = import_module(f"services.{component}")
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "alembic"))
    config.set_main_option("version_locations", str(Path(next(iter(package.__path__))) / "migrations"))
    config.set_main_option("path_separator", "os")
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    return config


def _metadata(component: str) -> MetaData:
    module = import_module(f"services.{component}.models")
    metadata: MetaData = module.TABLES.metadata
    return metadata


def _mine(component: str) -> Any:
    def include(item: Any, name: str | None, kind: str, *_: Any) -> bool:
        return kind != "table" or (item.schema == component and name not in (*KIT_TABLES, "alembic_version"))

    return include


def _context_options(component: str) -> dict[str, Any]:
    return {
        "target_metadata": _metadata(component),
        "version_table_schema": component,
        "include_schemas": True,
        "include_name": lambda name, kind, _: kind != "schema" or name == component,
        "include_object": _mine(component),
        "compare_type": _is_other_type,
        "render_item": _plain_text,
    }


def _upgrade(connection: Connection, component: str) -> None:
    script = ScriptDirectory.from_config(_config(component))

    def steps(revision: Any, _: Any) -> Any:
        return script._upgrade_revs("head", revision)

    with EnvironmentContext(_config(component), script, fn=steps) as environment:
        environment.configure(connection=connection, **_context_options(component))
        environment.run_migrations()


def _differences(connection: Connection, component: str) -> list[Any]:
    options = _context_options(component)
    context = MigrationContext.configure(connection, opts=options)
    return list(compare_metadata(context, options["target_metadata"]))


def _write_revision(connection: Connection, component: str, message: str) -> None:
    """Alembic's `revision --autogenerate`, without an env.py in every service."""
    config = _config(component)
    script = ScriptDirectory.from_config(config)
    newest = len(list(script.walk_revisions()))
    context = RevisionContext(
        config,
        script,
        {
            "message": message, "autogenerate": True, "sql": False, "head": "head", "splice": False,
            "branch_label": None, "version_path": None, "rev_id": f"{newest + 1:04d}", "depends_on": None,
        },
    )  # fmt: skip

    def retrieve(revision: Any, migration: Any) -> list[Any]:
        context.run_autogenerate(revision, migration)
        return []

    names = [table.name for table in _metadata(component).sorted_tables if "project" in table.c]
    context.template_args.update({"component": component, "protected": names})  # type: ignore[dict-item]
    with EnvironmentContext(config, script, fn=retrieve, template_args=context.template_args) as environment:
        environment.configure(connection=connection, **_context_options(component))
        environment.run_migrations()
    for written in filter(None, context.generate_scripts()):
        subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", written.path], check=True)
        sys.stdout.write(f"{written.path}\n")


def _is_other_type(_: Any, __: Any, ___: Any, inspected: Any, modelled: Any) -> bool | None:
    """SQLModel's strings are TEXT here; everything else Alembic compares itself (None)."""
    return not isinstance(inspected, sa.Text) if isinstance(modelled, AutoString) else None


def _plain_text(kind: str, item: Any, _: Any) -> str | bool:
    return "sa.Text()" if kind == "type" and isinstance(item, AutoString) else False


async def _main(arguments: list[str]) -> None:
    _, component, message = arguments
    from gyre_kit.settings import KitSettings

    engine = create_async_engine(KitSettings().database_url_of(component), connect_args=NO_DEFAULT_SCHEMA)
    async with engine.begin() as connection:
        await connection.run_sync(_write_revision, component, message)
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1:]))
