"""Every query about traffic policies and prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from gyre_kit import pages
from gyre_kit.db import Session
from gyre_kit.names import project_of

from services.inference_gateway.models.policies import Prompt, PromptVersion, TrafficPolicy


async def policy(session: Session, name: str, *, lock: bool = False) -> TrafficPolicy | None:
    query = sa.select(TrafficPolicy).where(TrafficPolicy.name == name)
    found: TrafficPolicy | None = await session.scalar(query.with_for_update() if lock else query)
    return found


async def policies(session: Session) -> Sequence[TrafficPolicy]:
    return (await session.scalars(sa.select(TrafficPolicy))).all()


async def prompt(session: Session, name: str, *, lock: bool = False) -> Prompt | None:
    query = sa.select(Prompt).where(Prompt.name == name)
    found: Prompt | None = await session.scalar(query.with_for_update(key_share=True) if lock else query)
    return found


async def lock_prompts_of(session: Session, project: str) -> int:
    """Nobody else makes one in `project` until the transaction ends; returns how many there are."""
    key = {"key": f"prompts/{project}"}
    await session.execute(sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), key)
    return await session.scalar(sa.select(sa.func.count()).where(Prompt.project == project)) or 0


async def version(session: Session, prompt: str, number: int) -> PromptVersion | None:
    query = sa.select(PromptVersion).where(PromptVersion.prompt == prompt, PromptVersion.number == number)
    found: PromptVersion | None = await session.scalar(query)
    return found


async def prompt_page(session: Session, request: Any) -> pages.Page[Prompt]:
    query = sa.select(Prompt).where(Prompt.project == project_of(request.parent))
    return await _page(session, Prompt, query, request)


async def version_page(session: Session, request: Any) -> pages.Page[PromptVersion]:
    query = sa.select(PromptVersion).where(PromptVersion.prompt == request.parent)
    return await _page(session, PromptVersion, query, request, "number desc")


async def served(session: Session, newest: int) -> tuple[Sequence[Prompt], Sequence[PromptVersion]]:
    """All prompts, and of each the `newest` versions and those that have a label."""
    prompts = (await session.scalars(sa.select(Prompt))).all()
    if not prompts:
        return (), ()
    labelled = [f"{each.name}/versions/{number}" for each in prompts for number in each.labels.values()]
    is_new = PromptVersion.number > Prompt.newest_version - newest
    query = sa.select(PromptVersion).join(Prompt, Prompt.name == PromptVersion.prompt)
    wanted = query.where(sa.or_(is_new, PromptVersion.name.in_(labelled)))
    return prompts, (await session.scalars(wanted.order_by(PromptVersion.prompt, PromptVersion.number))).all()


async def _page(session: Session, table: Any, query: Any, request: Any, order_by: str = "") -> pages.Page[Any]:
    return await pages.page(
        session,
        query,
        table=table,
        page_size=request.page_size,
        page_token=request.page_token,
        order_by=order_by,
    )
