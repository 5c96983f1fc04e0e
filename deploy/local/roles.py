"""One role and one schema a service, with least rights: it owns its schema, and can look into no other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import asyncpg
from gyre_kit.addresses import POOL_OVERFLOW, POOL_SIZE

PROCESSES_A_ROLE = 2  # a second one takes over from the first: an upgrade, or a standby that waits for its lock
CONNECTIONS_A_ROLE = (
    PROCESSES_A_ROLE * (POOL_SIZE + POOL_OVERFLOW + 1) + 4
)  # each with a migration; and a few to look in


async def ensure_roles(connection: Any, passwords: Mapping[str, str]) -> None:
    """Makes what is missing for each component of `passwords`, and sets its password. Idempotent.

    `connection` belongs to a superuser, or to a role with CREATEROLE and CREATE on the database.
    """
    database = await connection.fetchval("SELECT current_database()")
    await _execute(connection, "REVOKE ALL ON DATABASE %I FROM PUBLIC", database)
    await connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    for component, password in passwords.items():
        await _ensure_role(connection, component, password)
        await _execute(connection, "GRANT CONNECT ON DATABASE %I TO %I", database, component)
        await _execute(connection, "CREATE SCHEMA IF NOT EXISTS %I AUTHORIZATION %I", component, component)


async def ensure_database(connection: Any, name: str) -> None:
    if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
        await _execute(connection, "CREATE DATABASE %I", name)


async def _ensure_role(connection: Any, component: str, password: str) -> None:
    if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", component):
        await _execute(connection, "CREATE ROLE %I LOGIN NOINHERIT", component)  # all else is off unless asked for
        await _execute(
            connection, "GRANT %I TO CURRENT_USER", component
        )  # so that a non-superuser may give it a schema
        await _execute(connection, "ALTER ROLE %I SET search_path = %I", component, component)
        await _execute(connection, "ALTER ROLE %I SET idle_in_transaction_session_timeout = '60s'", component)
    limit = f"CONNECTION LIMIT {CONNECTIONS_A_ROLE}"  # also of a role that was made with another one
    await _execute(connection, f"ALTER ROLE %I {limit} PASSWORD %L", component, password)


async def _execute(connection: Any, template: str, *names: str) -> None:
    """Runs a statement that takes no parameters; PostgreSQL's own `format` quotes identifiers (%I) and literals (%L)."""
    places = ", ".join(f"${index + 2}::text" for index in range(len(names)))
    await connection.execute(await connection.fetchval(f"SELECT format($1, {places})", template, *names))


async def connect(**options: Any) -> asyncpg.Connection:
    return await asyncpg.connect(timeout=5, **options)
