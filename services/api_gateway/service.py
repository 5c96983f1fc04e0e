"""Use cases: projects, keys and the audit log."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from gyre.api_gateway.v1 import audit_entry_pb2, events_pb2, key_pb2, limits_pb2, project_pb2
from gyre_kit import resources
from gyre_kit.auth import ALL_PROJECTS, Identity, Role, write_private
from gyre_kit.db import Session
from gyre_kit.errors import AlreadyExists, Denied, Invalid, NotFound, Precondition
from gyre_kit.names import new_id, slug
from gyre_kit.outbox import emit
from gyre_kit.render import enum_number
from gyre_kit.states import transition
from sqlalchemy.exc import IntegrityError

from services.api_gateway import limits, store
from services.api_gateway.models import ApiKey, AuditEntry, KeyState, Project

FIRST_PROJECT = "default"
KEY_PREFIX = "gyre-"
REGION, MOST_REGIONS = re.compile(r"[a-z0-9-]{1,63}"), 50
LONGEST_RETENTION = 36_500  # days
CHANGEABLE = frozenset({
    "display_name", "consent_to_keep", "keep_personal_data", "retention_days", "requests_per_minute", "limits", "regions",
})  # fmt: skip


class ProjectExists(AlreadyExists):
    """There is a project of that name already."""


class FieldImmutable(Invalid):
    """Only display_name, consent_to_keep, keep_personal_data, retention_days, requests_per_minute, limits and regions of a
    project can be changed."""


class BadRegions(Invalid):
    """A region is 1 to 63 of a-z, 0-9 and hyphen, for example eu; * alone means anywhere; at most 50 of them."""


class BadRetention(Invalid):
    """retention_days is a number from 0 (kept for ever) to 36,500."""


class KeyFieldImmutable(Invalid):
    """Only display_name, requests_per_minute, limits and expire_time of a key can be changed."""


class KeyRevoked(Precondition):
    """The key was revoked, which is for good; make a new one."""


class AdminOnly(Denied):
    """Projects and keys are an administrator's business."""


class RoleRequired(Invalid):
    """A key has one of the roles VIEWER, REVIEWER, ENGINEER or ADMIN."""


class LastAdminKey(Precondition):
    """It is the last administrator's key of this project; make another one first."""


async def create_project(
    session: Session, project_id: str, *, display_name: str, consent: bool, by: Identity, request_id: str = ""
) -> Project:
    """Raises: BadName; ProjectExists; AdminOnly for an administrator of one project alone."""
    if by.project != ALL_PROJECTS:
        raise AdminOnly("Only the administrator of the whole installation makes projects.")
    name = f"projects/{slug(project_id)}"
    if request_id and (earlier := await resources.by_request(session, Project, project_id, request_id)):
        return earlier
    project = Project(
        name=name,
        project=project_id,
        display_name=display_name or project_id,
        request_id=request_id or None,
        created_by=by.subject,
    )
    session.add(project)
    try:
        await session.flush()
    except IntegrityError as error:
        raise ProjectExists(name=name) from error
    _consent(session, project, consent, by)
    await session.flush()
    await _project_changed(session, project)
    return project


async def update_project(session: Session, given: project_pb2.Project, fields: list[str], *, by: Identity) -> Project:
    """Raises: NotFound; FieldImmutable; EtagMismatch; BadLimits; BadRegions; BadRetention."""
    if wrong := set(fields) - CHANGEABLE:
        raise FieldImmutable(fields=", ".join(sorted(wrong)))
    project = await resources.get(session, Project, given.name, lock=True)
    resources.check_etag(project, given.etag)
    if "display_name" in fields:
        project.display_name = given.display_name
    if "consent_to_keep" in fields:
        _consent(session, project, given.consent_to_keep, by)
    if "regions" in fields:
        project.regions = _regions(given.regions)
    if "keep_personal_data" in fields:
        project.keep_personal_data = given.keep_personal_data
    if "retention_days" in fields:
        project.retention_days = _days(given.retention_days)
    _limit(project, given, fields)
    await session.flush()
    await _project_changed(session, project)
    return project


async def create_key(
    session: Session,
    project: str,
    *,
    role: str,
    display_name: str,
    requests_per_minute: int,
    by: Identity,
    request_id: str = "",
    secret: str = "",
    hidden: bool = False,
    all_projects: bool = False,
    allowed: limits_pb2.Limits | None = None,
    expires: datetime | None = None,
) -> tuple[ApiKey, str]:
    """The key, and its secret: empty if an earlier call with this request id made it.

    Raises: RoleRequired; NotFound; BadLimits; ExpiredAlready.
    """
    if role not in Role.__members__ or role == Role.WORKER.name:
        raise RoleRequired(field="role")
    if earlier := await resources.by_request(session, ApiKey, project, request_id):
        return earlier, ""
    await resources.get(session, Project, f"projects/{project}")
    limits.check_expiry(expires, session.clock.now())
    secret = secret or new_secret()
    key = ApiKey(
        name=f"projects/{project}/keys/{new_id()}",
        project=project,
        display_name=display_name,
        role=role,
        secret_sha256=digest(secret),
        prefix=secret[: len(KEY_PREFIX) + 6],
        requests_per_minute=requests_per_minute,
        limits=limits.checked(allowed or limits_pb2.Limits(), requests_per_minute),
        expire_time=expires,
        created_by=by.subject,
        request_id=request_id or None,
        hidden=hidden,
        all_projects=all_projects,
    )
    session.add(key)
    await session.flush()
    await emit(session, key.name, _key_changed(session, key))
    return key, secret


async def update_key(session: Session, given: key_pb2.ApiKey, fields: list[str]) -> ApiKey:
    """Raises: NotFound; EtagMismatch; KeyFieldImmutable; KeyRevoked; BadLimits; ExpiredAlready."""
    if wrong := set(fields) - {"display_name", "requests_per_minute", "limits", "expire_time"}:
        raise KeyFieldImmutable(fields=", ".join(sorted(wrong)))
    key = await resources.get(session, ApiKey, given.name, lock=True)
    resources.check_etag(key, given.etag)
    if key.state == KeyState.REVOKED:
        raise KeyRevoked(name=key.name)
    if "display_name" in fields:
        key.display_name = given.display_name
    if "expire_time" in fields:
        expires = given.expire_time.ToDatetime(UTC) if given.HasField("expire_time") else None
        limits.check_expiry(expires, session.clock.now())
        key.expire_time = expires
    _limit(key, given, fields)
    await session.flush()
    await emit(session, key.name, _key_changed(session, key))
    return key


async def revoke_key(session: Session, name: str, *, etag: str = "") -> ApiKey:
    """Raises: NotFound; EtagMismatch; LastAdminKey."""
    key = await resources.get(session, ApiKey, name, lock=True)
    resources.check_etag(key, etag)
    if key.state == KeyState.REVOKED:
        return key
    if key.role == "ADMIN" and await store.active_admin_keys(session, key.project) == 1:
        raise LastAdminKey(name=name)
    key.revoke_time = session.clock.now()
    changed = _key_changed(session, key)
    changed.state = key_pb2.ApiKey.STATE_REVOKED
    await transition(session, key, KeyState.REVOKED, changed)
    return key


async def identify(session: Session, secret_sha256: str) -> Identity | None:
    """Who holds the key of that hash; None if nobody does any more."""
    key = await store.key_by_hash(session, secret_sha256)
    if key is None or key.state != KeyState.ACTIVE or limits.is_over(key.expire_time, session.clock.now()):
        return None
    return Identity(key.name, ALL_PROJECTS if key.all_projects else key.project, Role[key.role])


async def set_up(session: Session, admin_key: Path, console_secret: bytes) -> None:
    """The first start: the project `default` and its administrator's key, which goes to a file that only we can read.

    The file is written before the commit: a start that dies in between leaves a key that opens nothing, and the next
    start takes that same key.
    """
    installer = Identity("services/api_gateway", ALL_PROJECTS, Role.ADMIN)
    try:
        await resources.get(session, Project, f"projects/{FIRST_PROJECT}")
        return
    except NotFound:
        await create_project(session, FIRST_PROJECT, display_name="Default", consent=True, by=installer)
    if not admin_key.exists():
        write_private(admin_key, new_secret().encode())
    await create_key(
        session,
        FIRST_PROJECT,
        role="ADMIN",
        display_name="first administrator",
        requests_per_minute=0,
        by=installer,
        secret=admin_key.read_text().strip(),
        all_projects=True,
    )
    await create_console_key(session, FIRST_PROJECT, console_secret, installer)


async def create_console_key(session: Session, project: str, console_secret: bytes, by: Identity) -> None:
    """The key with which the console's playground asks the OpenAI endpoint, one for each project."""
    await create_key(
        session,
        project,
        role="VIEWER",
        display_name="console",
        requests_per_minute=0,
        by=by,
        request_id="console",
        secret=console_key(console_secret, project),
        hidden=True,
    )


def console_key(console_secret: bytes, project: str) -> str:
    """Follows from the project and a secret of this installation, so that it needs no place to be kept."""
    return _key(hmac.digest(console_secret, project.encode(), "sha256"))


def load_console_secret(path: Path) -> bytes:
    if not path.exists():
        write_private(path, os.urandom(32))
    return path.read_bytes()


async def record(
    session: Session, *, project: str, actor: str, action: str, resource: str, outcome: str, reason: str, trace_id: str
) -> AuditEntry:
    entry = AuditEntry(
        name=f"projects/{project}/auditEntries/{new_id()}",
        project=project,
        actor=actor,
        action=action,
        resource=resource,
        outcome=outcome,
        reason=reason,
        trace_id=trace_id,
    )
    session.add(entry)
    await session.flush()
    outcome_number = enum_number(audit_entry_pb2.AuditEntry.Outcome.DESCRIPTOR, outcome)
    event = events_pb2.AuditRecorded(
        name=entry.name, actor=actor, action=action, resource=resource, outcome=outcome_number, reason=reason
    )
    event.record_time.FromDatetime(session.clock.now())
    await emit(session, entry.name, event)
    return entry


def new_secret() -> str:
    return _key(secrets.token_bytes(32))


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _key(random: bytes) -> str:
    return KEY_PREFIX + base64.urlsafe_b64encode(random).decode().rstrip("=")


def _limit(row: Project | ApiKey, given: project_pb2.Project | key_pb2.ApiKey, fields: list[str]) -> None:
    """Limits are replaced as a whole."""
    if "requests_per_minute" in fields:
        row.requests_per_minute = given.requests_per_minute
    if "limits" in fields:
        row.limits = limits.checked(given.limits, row.requests_per_minute)
    limits.checked(limits_pb2.Limits(), row.requests_per_minute)


def _regions(given: Iterable[str]) -> list[str]:
    """Sorted, each once. Raises: BadRegions."""
    regions = sorted(set(given))
    if len(regions) > MOST_REGIONS or (regions != ["*"] and not all(REGION.fullmatch(each) for each in regions)):
        raise BadRegions(field="regions", given=", ".join(regions)[:200])
    return regions


def _consent(session: Session, project: Project, consent: bool, by: Identity) -> None:
    if consent == project.consent_to_keep:
        return
    project.consent_to_keep = consent
    project.consented_by = by.subject if consent else ""
    project.consent_time = session.clock.now() if consent else None


def _days(given: int) -> int:
    if not 0 <= given <= LONGEST_RETENTION:
        raise BadRetention(field="retention_days")
    return given


async def _project_changed(session: Session, project: Project) -> None:
    event = events_pb2.ProjectChanged(
        name=project.name,
        state=enum_number(project_pb2.Project.State.DESCRIPTOR, project.state),
        consent_to_keep=project.consent_to_keep,
        requests_per_minute=project.requests_per_minute,
        limits=limits.as_message(project.limits),
        regions=project.regions,
        keep_personal_data=project.keep_personal_data,
        retention_days=project.retention_days,
    )
    event.change_time.FromDatetime(session.clock.now())
    await emit(session, project.name, event)


def _key_changed(session: Session, key: ApiKey) -> events_pb2.KeyChanged:
    event = events_pb2.KeyChanged(
        name=key.name,
        state=enum_number(key_pb2.ApiKey.State.DESCRIPTOR, key.state),
        role=enum_number(key_pb2.Role.DESCRIPTOR, key.role),
        secret_sha256=key.secret_sha256,
        requests_per_minute=key.requests_per_minute,
        limits=limits.as_message(key.limits),
        expire_unix_seconds=key.expire_unix_seconds,
    )
    event.change_time.FromDatetime(session.clock.now())
    return event
