"""${message}"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
% if down_revision is None:

from gyre_kit.migrate import create_kit_tables, protect
% endif

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
% if down_revision is None:
    create_kit_tables("${component}")
% endif
    ${upgrades if upgrades else "pass"}
% if down_revision is None:
    protect("${component}", ${", ".join('"' + name + '"' for name in protected)})
% endif
