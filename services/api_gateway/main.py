"""What this process is made of."""

from __future__ import annotations

from gyre_kit.app import App, run
from gyre_kit.auth import Role

from services.api_gateway.api import AuditApi, KeyApi, ProjectApi
from services.api_gateway.server import serving_http
from services.api_gateway.settings import Settings
from services.api_gateway.tail import tailing

app = App(
    component="api_gateway",
    settings=Settings(),
    servicers=[ProjectApi, KeyApi, AuditApi],
    extras=[tailing, serving_http],
    roles={
        "CreateProject": Role.ADMIN,
        "UpdateProject": Role.ADMIN,
        "CreateKey": Role.ADMIN,
        "UpdateKey": Role.ADMIN,
        "RevokeKey": Role.ADMIN,
        "ListKeys": Role.ADMIN,
        "ListKeyHashes": Role.ADMIN,
        "ListAuditEntries": Role.ADMIN,
    },
)

if __name__ == "__main__":
    run(app)
