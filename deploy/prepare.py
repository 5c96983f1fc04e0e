"""What containers need once, before the first service starts: signing keys, database roles and schemas.

`python -m deploy.prepare`, with `GYRE_DATABASE_URL` an administrator's. On one machine `gyre up` does the same.
Idempotent. It leaves the keys, the roles' passwords and the services' URL in `GYRE_HOME`, which all of them share.
"""

from __future__ import annotations

import asyncio
import sys

from deploy.local import database, keys
from deploy.local.settings import RuntimeSettings


def main() -> None:
    settings = RuntimeSettings()
    if not settings.database_url:
        sys.exit("GYRE_DATABASE_URL must name a PostgreSQL and an administrator: postgresql://user:password@host/gyre")
    settings.prepare_home()
    keys.ensure_signing_keys(settings.keys_folder)
    asyncio.run(database.prepare_external(settings))
    sys.stdout.write("keys, roles and schemas are there\n")


if __name__ == "__main__":
    main()
