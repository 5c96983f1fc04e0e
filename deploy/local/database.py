"""Which PostgreSQL the services use: the embedded one, one that we may administer, or one that is all set up.

`GYRE_DATABASE_URL` empty: embedded. With `{component}` in it: the roles and schemas are there already. Otherwise: an
administrator's URL, with which roles and schemas are made in its database; no service ever sees it.
"""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import asyncpg
from gyre_kit import addresses
from gyre_kit.auth import write_private

from deploy.local import keys, roles
from deploy.local.settings import RuntimeSettings


def passwords(settings: RuntimeSettings) -> dict[str, str]:
    return {component: keys.ensure_password(settings.keys_folder, component) for component in addresses.COMPONENTS}


def publish_template(settings: RuntimeSettings, template: str) -> None:
    """Leaves the URL, with `{component}` and `{password}` to fill in, where the services look for it."""
    write_private(settings.database_url_file, template.encode())


async def prepare_external(settings: RuntimeSettings) -> None:
    """Makes roles and schemas where `GYRE_DATABASE_URL` is an administrator's, and publishes the services' URL.

    Raises: RuntimeError where it lets nobody in, or lets nobody make roles.
    """
    url = settings.database_url
    if "{component}" in url:
        publish_template(settings, url)
        return
    try:
        connection = await roles.connect(dsn=url)
        try:
            await roles.ensure_roles(connection, passwords(settings))
        finally:
            await connection.close()
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        where = urlsplit(url).netloc.rpartition("@")[2] or url
        raise RuntimeError(
            f"PostgreSQL at {where} cannot be used: {error or type(error).__name__}. Check GYRE_DATABASE_URL; its user "
            "needs CREATEROLE and CREATE on the database, or put {component} and {password} for roles that exist."
        ) from error
    publish_template(settings, service_template(url))


def service_template(admin_url: str) -> str:
    """The administrator's URL with the user replaced: `postgresql://{component}:{password}@host:5432/gyre`."""
    parts = urlsplit(admin_url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{{component}}:{{password}}@{host}"))
