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
    found = resources.filtered(
        query, Project, filter=request.filter, text=request.query, allowed=("state",), text_in=("name", "display_name")
    )
    return await _page(session, found, Project, request)


async def key_page(session: Session, project: str, request: Any) -> pages.Page[ApiKey]:
    found = resources.filtered(
        sa.select(ApiKey).where(ApiKey.project == project, ApiKey.hidden.is_(False)),
        ApiKey,
        filter=request.filter,
        text=request.query,
        allowed=("state", "role"),
        text_in=("display_name", "prefix"),
    )
    return await _page(session, found, ApiKey, request)


async def audit_page(session: Session, project: str, request: Any) -> pages.Page[AuditEntry]:
    found = resources.filtered(
        sa.select(AuditEntry).where(AuditEntry.project == project),
        AuditEntry,
        filter=request.filter,
        text=request.query,
        allowed=("actor", "action", "outcome"),
        text_in=("action", "resource"),
    )
    return await _page(session, found, AuditEntry, request)


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


async def _page(session: Session, query: Any, table: type[Any], request: Any) -> pages.Page[Any]:
    return await pages.page(
        session,
        query,
        table=table,
        page_size=request.page_size,
        page_token=request.page_token,
        order_by=request.order_by,
    )
