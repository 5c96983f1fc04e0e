"""Every query of this service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from gyre_kit import pages, resources
from gyre_kit.db import Session
from gyre_kit.names import project_of

from services.evaluation.models import Comparison, Evaluation, Suite, SuiteState, Verdict

MOST_ALIKE = 100


async def suite_page(session: Session, request: Any) -> pages.Page[Suite]:
    query = sa.select(Suite).where(Suite.project == project_of(request.parent))
    if "state" not in request.filter:
        query = query.where(Suite.state == SuiteState.ACTIVE)
    return await resources.listed(session, query, Suite, request, allowed=("state",), text_in=("name", "display_name"))


async def evaluation_page(session: Session, request: Any) -> pages.Page[Evaluation]:
    query = sa.select(Evaluation).where(Evaluation.project == project_of(request.parent))
    allowed = ("state", "suite", "variant", "pipeline")
    return await resources.listed(
        session, query, Evaluation, request, allowed=allowed, text_in=("display_name", "variant", "suite", "number")
    )


async def verdict_page(session: Session, request: Any) -> pages.Page[Verdict]:
    query = sa.select(Verdict).where(Verdict.project == project_of(request.parent))
    allowed = ("state", "candidate", "candidate_variant")
    return await resources.listed(
        session, query, Verdict, request, allowed=allowed, text_in=("display_name", "candidate_variant", "number")
    )


async def comparison_page(session: Session, request: Any) -> pages.Page[Comparison]:
    query = sa.select(Comparison).where(Comparison.project == project_of(request.parent))
    allowed = ("state", "version", "suite")
    return await resources.listed(
        session, query, Comparison, request, allowed=allowed, text_in=("display_name", "version", "number")
    )


async def comparisons_like(session: Session, comparison: Comparison) -> Sequence[Comparison]:
    """Of the same version, suite and metric, the newest first."""
    same = (
        Comparison.project == comparison.project,
        Comparison.version == comparison.version,
        Comparison.suite == comparison.suite,
        Comparison.metric == comparison.metric,
    )
    query = sa.select(Comparison).where(*same).order_by(Comparison.number.desc()).limit(MOST_ALIKE)
    return list((await session.execute(query)).scalars())


async def make_due(session: Session, workload: str) -> None:
    await session.execute(sa.update(Evaluation).where(Evaluation.workload == workload).values(due=None))
