"""Every query about shadows, experiments and prompts that left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from gyre_kit import pages, resources
from gyre_kit.db import Session
from gyre_kit.names import project_of
from sqlalchemy.dialects.postgresql import insert

from services.inference_gateway.models.comparing import Experiment, ExperimentState, ShadowPair
from services.inference_gateway.models.deployments import Target
from services.inference_gateway.models.traces import Completion
from services.inference_gateway.models.usage import SentOut
from services.inference_gateway.proxy.occurrences import Place


@dataclass(frozen=True)
class Moments:
    """Of a sample."""

    count: int = 0
    mean: float = 0.0
    deviation: float = 0.0


@dataclass(frozen=True)
class Sums:
    """Over all pairs of one shadow; moments are of those that it answered."""

    count: int = 0
    failed: int = 0
    agreed: int = 0
    similarity: Moments = field(default_factory=Moments)
    log_length_ratio: Moments = field(default_factory=Moments)
    log_latency_ratio: Moments = field(default_factory=Moments)


async def add_pairs(session: Session, rows: Sequence[ShadowPair]) -> None:
    if rows:
        await session.execute(insert(ShadowPair).values([row.model_dump() for row in rows]).on_conflict_do_nothing())


async def shadow_targets(session: Session, deployment: str) -> Sequence[Target]:
    """Those that are shadows now, and those of which something was compared; newest first."""
    compared = sa.exists().where(ShadowPair.shadow == Target.deployment + "/shadows/" + Target.id)
    query = sa.select(Target).where(Target.deployment == deployment, sa.or_(Target.shadow_percent > 0, compared))
    return (await session.scalars(query.order_by(Target.create_time.desc(), Target.name))).all()


async def sums(session: Session, shadow: str) -> Sums:
    answered = ShadowPair.failure_reason == ""
    length = sa.func.ln((ShadowPair.shadow_length + 1.0) / (ShadowPair.length + 1.0))
    latency = sa.func.ln((ShadowPair.shadow_duration_ms + 1.0) / (ShadowPair.duration_ms + 1.0))
    measured = [
        function(value).filter(answered)
        for value in (ShadowPair.similarity, length, latency)
        for function in (sa.func.avg, sa.func.stddev_samp)
    ]
    counts = (
        sa.func.count(),
        sa.func.count().filter(~answered),
        sa.func.count().filter(ShadowPair.agrees),
    )
    row = (await session.execute(sa.select(*counts, *measured).where(ShadowPair.shadow == shadow))).one()
    count, failed, agreed = row[:3]
    moments = [Moments(count - failed, float(row[at] or 0), float(row[at + 1] or 0)) for at in (3, 5, 7)]
    return Sums(count, failed, agreed, *moments)


async def pair_page(session: Session, request: Any) -> pages.Page[ShadowPair]:
    query = sa.select(ShadowPair).where(ShadowPair.shadow == request.parent)
    if request.only_differing:
        query = query.where(~ShadowPair.agrees)
    return await resources.listed(session, query, ShadowPair, request, order_by="create_time desc")


async def texts(session: Session, pairs: Sequence[ShadowPair]) -> dict[str, Completion]:
    """The completions of both sides that were kept, by name."""
    names = [name for pair in pairs for name in (pair.completion, pair.shadow_completion)]
    found = await session.scalars(sa.select(Completion).where(Completion.name.in_(names)))
    return {each.name: each for each in found}


async def next_experiment_number(session: Session, deployment: str) -> int:
    """Counted from 1 in each deployment, whose row the caller has locked."""
    newest = await session.scalar(sa.select(sa.func.max(Experiment.number)).where(Experiment.deployment == deployment))
    return (newest or 0) + 1


async def running_experiments(session: Session) -> Sequence[str]:
    """Their names."""
    query = sa.select(Experiment.name).where(Experiment.state == ExperimentState.RUNNING)
    return (await session.scalars(query)).all()


async def experiment_page(session: Session, request: Any) -> pages.Page[Experiment]:
    """`deployments/-` of a project means all of them."""
    project, _, deployment = request.parent.partition("/deployments/")
    of_all = deployment == "-"
    query = sa.select(Experiment).where(
        Experiment.project == project_of(project) if of_all else Experiment.deployment == request.parent
    )
    return await resources.listed(session, query, Experiment, request, order_by="")


async def experiment_counts(session: Session) -> dict[str, int]:
    rows = await session.execute(sa.select(Experiment.state, sa.func.count()).group_by(Experiment.state))
    return dict(rows.tuples().all())


async def forget(session: Session, deployment: str) -> None:
    """For a deployment whose name is taken anew."""
    await session.execute(sa.delete(Experiment).where(Experiment.deployment == deployment))
    await session.execute(sa.delete(ShadowPair).where(ShadowPair.shadow.startswith(f"{deployment}/shadows/")))


async def add_sent_out(session: Session, new: Mapping[Place, int]) -> None:
    now = session.clock.now()
    for (project, upstream, region), count in sorted(new.items()):
        row = {"project": project, "upstream": upstream, "region": region, "prompt_count": count, "last_time": now}
        statement = insert(SentOut).values(**row)
        more = {"prompt_count": SentOut.prompt_count + statement.excluded.prompt_count, "last_time": now}
        await session.execute(
            statement.on_conflict_do_update(index_elements=["project", "upstream", "region"], set_=more)
        )


async def sent_out(session: Session, project: str) -> Sequence[SentOut]:
    query = sa.select(SentOut).where(SentOut.project == project).order_by(SentOut.prompt_count.desc())
    return (await session.scalars(query)).all()
