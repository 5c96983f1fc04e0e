"""Use cases: aliases, moved with compare-and-set, each move written down. Evaluation judges, the registry obeys."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gyre.model_registry.v1 import events_pb2
from gyre_kit import resources
from gyre_kit.auth import Identity, Role
from gyre_kit.db import Session
from gyre_kit.errors import Conflict, Denied, NotFound, Precondition
from gyre_kit.names import parent_of, project_of, slug
from gyre_kit.outbox import emit

from services.model_registry import history, store
from services.model_registry.models import Alias, AliasMove, Model
from services.model_registry.service import ready_version


class VersionMismatch(Conflict):
    """The alias points to another version than expected: read it again, then decide anew."""


class AliasNotFound(NotFound):
    """The alias pointed to nothing at that time: its moves say since when it does."""


class VerdictRequired(Precondition):
    """The alias is gated: name a passing verdict on the variant that is to be served."""


class VerdictNotPassed(Precondition):
    """The verdict did not pass."""


class VerdictOfAnotherVariant(Precondition):
    """The verdict judges another variant than the one that the alias would point to."""


class GateKept(Denied):
    """Only an administrator lifts an alias's gate."""


@dataclass(frozen=True)
class Verdict:
    """What evaluation answered about a verdict."""

    name: str
    passed: bool
    variant: str


@dataclass(frozen=True)
class Move:
    """Where an alias is to point, and under which conditions."""

    alias: str
    version: str
    variant: str = ""
    verdict: Verdict | None = None
    etag: str = ""
    expected_version: str = ""
    gated: bool | None = None
    request_id: str = ""


async def move(session: Session, wanted: Move, *, by: Identity) -> Alias:
    """Moves the alias, or makes it at its first move.

    Raises: NotFound; VersionNotReady; EtagMismatch; VersionMismatch; VerdictRequired; VerdictNotPassed;
    VerdictOfAnotherVariant; GateKept.
    """
    project = project_of(wanted.alias)
    model = await resources.get(session, Model, parent_of(wanted.alias), lock=True)
    if await resources.by_request(session, AliasMove, project, wanted.request_id):
        return await resources.get(session, Alias, wanted.alias)
    await ready_version(session, wanted.version)
    alias: Alias | None = await session.get(Alias, wanted.alias)
    _check_expectation(alias, wanted)
    _check_gate(alias, wanted, by)
    came_from = alias.version if alias else ""
    if alias is None:
        slug(wanted.alias.rsplit("/", 1)[-1])
        alias = Alias(name=wanted.alias, project=project, model=model.name, version=wanted.version)
        session.add(alias)
    alias.version, alias.variant = wanted.version, wanted.variant
    alias.gated = alias.gated if wanted.gated is None else wanted.gated
    await session.flush()
    await _write_down(session, alias, came_from, wanted)
    return alias


async def resolve(session: Session, alias: str, time: datetime) -> AliasMove:
    """The move that was in force at `time`. Raises: AliasNotFound."""
    found = await store.move_in_force(session, alias, time)
    if found is None:
        raise AliasNotFound(alias=alias, time=time.isoformat())
    return found


def _check_expectation(alias: Alias | None, wanted: Move) -> None:
    if alias is not None:
        resources.check_etag(alias, wanted.etag)
    if wanted.expected_version and (alias is None or alias.version != wanted.expected_version):
        raise VersionMismatch(alias=wanted.alias, expected=wanted.expected_version, at=alias.version if alias else "")


def _check_gate(alias: Alias | None, wanted: Move, by: Identity) -> None:
    was_gated = alias is not None and alias.gated
    if was_gated and wanted.gated is False and by.role < Role.ADMIN:
        raise GateKept(alias=wanted.alias)
    if wanted.verdict is None:
        if was_gated and wanted.gated is not False:
            raise VerdictRequired(alias=wanted.alias)
        return
    if not wanted.verdict.passed:
        raise VerdictNotPassed(verdict=wanted.verdict.name)
    if wanted.verdict.variant != wanted.variant:
        raise VerdictOfAnotherVariant(verdict=wanted.verdict.name, judged=wanted.verdict.variant)


async def _write_down(session: Session, alias: Alias, came_from: str, wanted: Move) -> None:
    number = await store.moves_of(session, alias.name) + 1
    verdict = wanted.verdict.name if wanted.verdict else ""
    session.add(
        AliasMove(
            name=f"{alias.name}/moves/{number}",
            project=alias.project,
            alias=alias.name,
            number=number,
            from_version=came_from,
            to_version=alias.version,
            to_variant=alias.variant,
            verdict=verdict,
            request_id=wanted.request_id or None,
        )
    )
    await session.flush()
    await history.add_edges(session, alias.project, [(alias.variant, verdict, "judged_by")])
    moved = events_pb2.AliasMoved(
        name=alias.name, from_version=came_from, to_version=alias.version, to_variant=alias.variant, verdict=verdict
    )
    moved.move_time.FromDatetime(session.clock.now())
    await emit(session, alias.name, moved)
