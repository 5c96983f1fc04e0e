"""Each service's migrations lead to exactly what its models say, with row-level security on every project's table."""

from __future__ import annotations

import pytest
from gyre_kit import migrate
from gyre_kit.addresses import COMPONENTS
from gyre_kit.testing import Platform
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine


@pytest.mark.parametrize("component", COMPONENTS)
async def test_models_and_migrations_agree(platform: Platform, component: str) -> None:
    url = platform.settings().database_url_of(component)
    await migrate.upgrade(url, component)
    assert await migrate.differences(url, component) == []


@pytest.mark.parametrize("component", COMPONENTS)
async def test_every_table_with_a_project_is_protected_even_from_its_owner(platform: Platform, component: str) -> None:
    url = platform.settings().database_url_of(component)
    await migrate.upgrade(url, component)
    query = """
        SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'project' AND NOT a.attisdropped
        WHERE n.nspname = :schema AND c.relkind = 'r'
    """
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        tables = {row[0]: row[1] for row in await connection.execute(text(query), {"schema": component})}
    await engine.dispose()
    assert tables
    assert all(tables.values()), sorted(name for name, safe in tables.items() if not safe)


@pytest.mark.parametrize("component", COMPONENTS)
async def test_a_role_looks_into_no_other_schema(platform: Platform, component: str) -> None:
    other = next(name for name in COMPONENTS if name != component)
    await migrate.upgrade(platform.settings().database_url_of(other), other)
    engine = create_async_engine(platform.settings().database_url_of(component))
    async with engine.connect() as connection:
        allowed = await connection.scalar(
            text("SELECT has_schema_privilege(:role, :schema, 'USAGE')"), {"role": component, "schema": other}
        )
    await engine.dispose()
    assert allowed is False
