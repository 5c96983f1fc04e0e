"""Every query about traffic policies and prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from gyre_kit import pages
from gyre_kit.db import Session
from gyre_kit.names import project_of
from sqlalchemy.dialects.postgresql import insert

from services.inference_gateway.models.policies import Finding, Prompt, PromptVersion, TrafficPolicy
from services.inference_gateway.proxy.occurrences import Place

FINDINGS_KEPT = timedelta(days=31)


async def policy(session: Session, name: str, *, lock: bool = False) -> TrafficPolicy | None:
    query = sa.select(TrafficPolicy).where(TrafficPolicy.name == name)
    found: TrafficPolicy | None = await session.scalar(query.with_for_update() if lock else query)
    return found


async def policies(session: Session) -> Sequence[TrafficPolicy]:
    return (await session.scalars(sa.select(TrafficPolicy))).all()


async def add_findings(session: Session, new: Mapping[Place, int]) -> None:
    """By project, what and action. What is older than they are kept is forgotten."""
    now = session.clock.now()
    hour = now.replace(minute=0, second=0, microsecond=0)
    for (project, what, action), count in sorted(new.items()):
        row = {"project": project, "hour": hour, "what": what, "action": action, "count": count, "last_time": now}
        statement = insert(Finding).values(**row)
        more = {"count": Finding.count + statement.excluded.count, "last_time": now}
        await session.execute(
            statement.on_conflict_do_update(index_elements=["project", "hour", "what", "action"], set_=more)
        )
    await session.execute(sa.delete(Finding).where(Finding.hour < now - FINDINGS_KEPT))


async def findings(session: Session, project: str, since: datetime) -> Sequence[Any]:
    """Rows of what, action, count and last_time, most first."""
    total = sa.func.sum(Finding.count)
    query = sa.select(
        Finding.what,
        Finding.action,
        sa.cast(total, sa.BigInteger).label("count"),
        sa.func.max(Finding.last_time).label("last_time"),
    )
    mine = query.where(Finding.project == project, Finding.hour >= since).group_by(Finding.what, Finding.action)
    return (await session.execute(mine.order_by(total.desc(), Finding.what, Finding.action))).all()


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


async def delete_prompt(session: Session, prompt: Prompt) -> None:
    """With its versions."""
    await session.execute(sa.delete(PromptVersion).where(PromptVersion.prompt == prompt.name))
    await session.delete(prompt)


async def prompt_page(session: Session, request: Any) -> pages.Page[Prompt]:
    query = sa.select(Prompt).where(Prompt.project == project_of(request.parent))
    if request.query:
        text = sa.func.lower(request.query)
        its_id = sa.func.split_part(Prompt.name, "/", 4)
        query = query.where(
            sa.or_(*(sa.func.strpos(sa.func.lower(each), text) > 0 for each in (its_id, Prompt.display_name)))
        )
    return await _page(session, Prompt, query, request, request.order_by)


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
