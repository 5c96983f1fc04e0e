"""Use cases: under which terms a thing stands, and what a project refuses to deploy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC

from gyre.dataset.v1 import version_service_pb2 as dataset_versions
from gyre.dataset.v1.version_service_pb2_grpc import VersionServiceStub as DatasetVersionServiceStub
from gyre.model_registry.v1 import licence_pb2
from gyre_kit import resources
from gyre_kit.app import Context
from gyre_kit.auth import Identity
from gyre_kit.db import Session
from gyre_kit.errors import Invalid, NotFound
from gyre_kit.names import project_of
from gyre_kit.render import short_name
from sqlalchemy.exc import IntegrityError

from services.model_registry import history, licences, store
from services.model_registry.asking import ask, collections_of
from services.model_registry.licences import Policy, Refusal, Stated, Term, Terms
from services.model_registry.models import KnownData, LicencePolicy, Variant, Version

MOST_ANCESTORS = 10_000
DATA, WEIGHTS = "datasets/versions", "models/versions"
# By which a work goes on in another. A verdict, an alias, a deployment or a pipeline brings no terms.
CARRYING = [
    "trained_on",
    "based_on",
    "rewarded_by",
    "made",
    "stored_as",
    "converted_to",
    "calibrated_on",
    "derived",
    "answered",
]


class ThingNotFound(NotFound):
    """Terms are known of model versions, variants and data set versions; there is none of that name."""


class PolicyFieldImmutable(Invalid):
    """Of a policy refuse_terms and refuse_unknown can be changed."""


class TermUnknown(Invalid):
    """A policy refuses terms that are known: non_commercial, attribution, naming, share_alike and so on."""


@dataclass(frozen=True)
class Standing:
    """How a thing stands: what is stated of it, what it inherits, what the policy has against it."""

    licence: str
    origin: str
    terms: Terms
    refusals: Sequence[Refusal]
    truncated: bool


@dataclass
class Ancestry:
    """All that a thing came from, itself included; `rows` are those that the registry keeps itself."""

    parents: dict[str, list[str]]
    rows: dict[str, Version | Variant]
    data: dict[str, KnownData]
    licence_of_model: dict[str, str]
    truncated: bool = False

    @property
    def names(self) -> set[str]:
        return set(self.parents)

    def unheard(self) -> list[str]:
        """Data set versions whose event has not come, or came before it told the licence."""
        return sorted(name for name in self.names if collections_of(name) == DATA and name not in self.data)


async def standing(context: Context, name: str) -> Standing:
    """1 all that it came from, 2 what is not known of data is asked, 3 the terms of it all, 4 what the policy says.

    Raises: ThingNotFound.
    """
    found = await _ancestry(context, name)
    while unheard := await _learn(context, found.unheard()):
        found = await _ancestry(context, name)
        if set(found.unheard()) & set(unheard):
            break
    if name not in found.rows and name not in found.data:
        raise ThingNotFound(name=name)
    terms = terms_of(name, found)
    async with context.db.transaction() as session:
        kept = await policy(session, project_of(name))
    against = licences.refusals(terms, as_policy(kept))
    if found.truncated and kept.refuse_unknown:
        against.append(Refusal(None, name, "", f"{name} came from more than {MOST_ANCESTORS:,} things."))
    return Standing(*_own(name, found), terms, against, found.truncated)


def terms_of(name: str, found: Ancestry) -> Terms:
    stated = {each: _stated(each, found) for each in found.names}
    return licences.inherit(name, found.parents, stated)


async def policy(session: Session, project: str, *, lock: bool = False) -> LicencePolicy:
    """The project's, or one that refuses nothing."""
    name = f"projects/{project}/licencePolicy"
    kept: LicencePolicy | None = await session.get(LicencePolicy, name, with_for_update=lock)
    return kept or LicencePolicy(name=name, project=project, revision=0)


async def update_policy(
    session: Session, given: licence_pb2.LicencePolicy, fields: Sequence[str], *, by: Identity
) -> LicencePolicy:
    """Raises: PolicyFieldImmutable; TermUnknown; EtagMismatch; BadParent."""
    if wrong := set(fields) - {"refuse_terms", "refuse_unknown"}:
        raise PolicyFieldImmutable(fields=", ".join(sorted(wrong)))
    kept = await policy(session, project_of(given.name), lock=True)
    resources.check_etag(kept, given.etag)
    if "refuse_terms" in fields:
        if wrong_numbers := set(given.refuse_terms) - set(licence_pb2.Term.values()[1:]):
            raise TermUnknown(field="refuse_terms", given=", ".join(map(str, sorted(wrong_numbers))))
        chosen = {short_name(licence_pb2.Term.DESCRIPTOR, number) for number in given.refuse_terms}
        kept.refuse_terms = [term for term in Term if term in chosen]
    if "refuse_unknown" in fields:
        kept.refuse_unknown = given.refuse_unknown
    kept.updated_by = by.subject
    kept.revision = kept.revision or 1
    session.add(kept)
    try:
        await session.flush()
    except IntegrityError as error:
        raise resources.EtagMismatch(name=kept.name) from error
    return kept


def as_policy(kept: LicencePolicy) -> Policy:
    return Policy(frozenset(Term(term) for term in kept.refuse_terms), kept.refuse_unknown)


async def _ancestry(context: Context, name: str) -> Ancestry:
    async with context.db.transaction() as session:
        return await ancestry(session, name)


async def ancestry(session: Session, name: str) -> Ancestry:
    """Level by level upwards. A version's and a variant's own row counts as much as the edges do."""
    found = Ancestry(defaultdict(list), {}, {}, {})
    front = [name]
    while front and not found.truncated:
        rows = await store.versions_and_variants(session, front)
        found.rows |= rows
        for each in front:
            found.parents[each] += _made_of(rows[each]) if each in rows else []
        for child, parent in await history.parents_of(session, front, CARRYING):
            found.parents[child].append(parent)
        front = list(dict.fromkeys(up for each in front for up in found.parents[each] if up not in found.parents))
        found.truncated = len(found.parents) + len(front) > MOST_ANCESTORS
    found.data = await history.known_data(session, sorted(found.names))
    models = {row.model for row in found.rows.values() if isinstance(row, Version)}
    found.licence_of_model = await store.licences_of_models(session, sorted(models))
    return found


def _made_of(row: Version | Variant) -> list[str]:
    names = (
        [row.version, row.calibration]
        if isinstance(row, Variant)
        else [row.run, row.base_version, *row.dataset_versions]
    )
    return [name for name in names if name]


async def _learn(context: Context, names: Sequence[str]) -> Sequence[str]:
    """Asks the data set service for versions of which no event told; those that it answered are known from then on."""
    learnt = []
    for name in names:
        request = dataset_versions.GetVersionRequest(name=name)
        version = await ask(context.clients.stub(DatasetVersionServiceStub).GetVersion(request))
        if version is None:
            continue
        time = version.update_time.ToDatetime(tzinfo=UTC)
        made_by_batch = any(collections_of(source) == "batches" for source in version.derived_from)
        data = KnownData(
            name=name,
            project=project_of(name),
            licence=version.licence,
            origin=version.origin,
            row_count=version.row_count,
            adds_rows=bool(version.source_uri) and not made_by_batch,
            time=version.create_time.ToDatetime(tzinfo=UTC),
            licence_time=time,
        )
        async with context.db.transaction() as session:
            await history.put_data(session, data)
            edges = [(source, name, "derived") for source in version.derived_from]
            await history.add_edges(session, data.project, edges, data.time)
        learnt.append(name)
    return learnt


def _stated(name: str, found: Ancestry) -> Stated:
    """What is said of one ancestor. A licence that was only taken over from the base is the base's to bring."""
    kind = collections_of(name)
    if kind == DATA:
        data = found.data.get(name)
        return Stated(data.licence, data.adds_rows) if data else Stated(needs_one=True)
    if kind != WEIGHTS:
        return Stated()
    version = found.rows.get(name)
    if not isinstance(version, Version):
        return Stated(needs_one=True)
    if not (version.run or version.base_version):
        return Stated(_licence_of(version, found.licence_of_model), needs_one=True)
    base = found.rows.get(version.base_version)
    taken_over = isinstance(base, Version) and base.licence == version.licence
    return Stated("" if taken_over else version.licence)


def _licence_of(version: Version, licence_of_model: Mapping[str, str]) -> str:
    return version.licence or licence_of_model.get(version.model, "")


def _own(name: str, found: Ancestry) -> tuple[str, str]:
    """Licence and origin as stated for the thing; a variant has its version's."""
    if data := found.data.get(name):
        return data.licence, data.origin
    row = found.rows[name]
    version = found.rows.get(row.version) if isinstance(row, Variant) else row
    if not isinstance(version, Version):
        return "", ""
    return _licence_of(version, found.licence_of_model), version.origin
