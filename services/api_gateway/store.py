"""Every query of this service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from gyre_kit import pages, resources
from gyre_kit.db import Session

from services.api_gateway.models import ApiKey, AuditEntry, KeyState, Project


async def project_page(session: Session, only: str, request: Any) -> pages.Page[Project]:
    """The projects that a caller of project `only` may see; `*` sees all."""
    query = sa.select(Project)
    if only != "*":
        query = query.where(Project.project == only)
    text_in = ("name", "display_name")
    return await resources.listed(session, query, Project, request, allowed=("state",), text_in=text_in)


async def key_page(session: Session, project: str, request: Any) -> pages.Page[ApiKey]:
    query = sa.select(ApiKey).where(ApiKey.project == project, ApiKey.hidden.is_(False))
    allowed, text_in = ("state", "role"), ("display_name", "prefix")
    return await resources.listed(session, query, ApiKey, request, allowed=allowed, text_in=text_in)


async def audit_page(session: Session, project: str, request: Any) -> pages.Page[AuditEntry]:
    query = sa.select(AuditEntry).where(AuditEntry.project == project)
    allowed, text_in = ("actor", "action", "outcome"), ("action", "resource")
    return await resources.listed(session, query, AuditEntry, request, allowed=allowed, text_in=text_in)


async def key_by_hash(session: Session, digest: str) -> ApiKey | None:
    found: ApiKey | None = await session.scalar(sa.select(ApiKey).where(ApiKey.secret_sha256 == digest))
    return found


async def active_admin_keys(session: Session, project: str) -> int:
    query = sa.select(sa.func.count()).where(
        ApiKey.project == project, ApiKey.role == "ADMIN", ApiKey.state == KeyState.ACTIVE
    )
    return await session.scalar(query) or 0


async def hashes_after(session: Session, name: str, limit: int) -> Sequence[ApiKey]:
    query = sa.select(ApiKey).where(ApiKey.name > name).order_by(ApiKey.name).limit(limit)
    return (await session.scalars(query)).all()
