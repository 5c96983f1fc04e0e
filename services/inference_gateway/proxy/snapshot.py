"""What a worker knows: an immutable picture of keys and routes, swapped whole.

The control plane writes it with `write_snapshot`; workers poll the file (`SnapshotFile`). A file, not a socket: it
survives either side's death, a worker that starts finds the newest state at once, and one `stat` each 100 ms is free.
Keys are SHA-256 hashes; keys of rented upstreams are named, never contained.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from dataclasses import fields as dataclass_fields
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

from services.inference_gateway.proxy import policy
from services.inference_gateway.proxy.allowance import Limits, Period
from services.inference_gateway.proxy.policy import Policy

ALL_PROJECTS = "*"
FORMAT = 1
NO_LIMITS = Limits()


class TargetState(StrEnum):
    READY = "READY"
    UNHEALTHY = "UNHEALTHY"  # asked only when nothing else is left
    STANDBY = "STANDBY"  # goes on with its sessions, and answers who asks for its version
    DRAINING = "DRAINING"  # gets no new requests
    ASLEEP = "ASLEEP"  # has no engine; who asks it waits until it is awake


@dataclass(frozen=True, slots=True)
class Key:
    """A caller's key. `name` is `projects/{p}/keys/{id}`; `project` may be `*`; `expires` in Unix seconds, 0: never.

    `batch` is the id of the batch for which the gateway itself asks with this key: its answers are kept in part files,
    and it takes places at an engine only when nobody else wants them.
    """

    name: str
    project: str
    role: str = "VIEWER"
    limits: Limits = NO_LIMITS
    expires: float = 0.0
    revoked: bool = False
    batch: str = ""


@dataclass(frozen=True, slots=True)
class Project:
    """`keeps_completions` is the project's consent to keep what is asked and answered, `keeps_personal_data` to keep it
    without marks in place of personal data; `limits` are for all its keys together. Most have no `policy`."""

    keeps_completions: bool = False
    limits: Limits = NO_LIMITS
    keeps_personal_data: bool = False
    policy: Policy | None = None


@dataclass(frozen=True, slots=True)
class Adapter:
    """What is added to a base for those who ask for it by `name`; where `keys` has names of keys, for these alone."""

    name: str
    variant: str = ""
    model_version: str = ""
    digest: str = ""
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """One engine behind a deployment: a replica (`address`, host:port) or an engine that ran before (`upstream_url`).

    `version` is the short name after `@` with which a client pins it; `weight` is a share of new requests. Prices are
    in microdollars a million tokens, which is picodollars a token. `places`: requests that it computes at once; 0: not
    known, and nobody waits here for one. `replica_of` is what it is one of several replicas of, empty for one that is
    alone: they share a weight, and a session may go from one to another. `shadow_percent` of requests that others
    answer are copied to it. `sent_to` is the host of a rented engine, `region` where that computes; both are empty for
    own hardware. The place of each of `adapters` is its number at llama.cpp.
    """

    id: str
    version: str = ""
    model_version: str = ""
    variant: str = ""
    engine: str = "llama_cpp"
    address: str = ""
    upstream_url: str = ""
    upstream_model: str = ""
    upstream_key_ref: str = ""
    weight: float = 100
    state: TargetState = TargetState.READY
    input_price: int = 0
    output_price: int = 0
    places: int = 0
    replica_of: str = ""
    shadow_percent: int = 0
    sent_to: str = ""
    region: str = ""
    adapters: tuple[Adapter, ...] = ()

    @property
    def target(self) -> str:
        """What sessions stay with, and what is judged: the id of all its replicas together."""
        return self.replica_of or self.id

    @property
    def base_url(self) -> str:
        """URL below which the OpenAI paths live (`…/v1`)."""
        return self.upstream_url.rstrip("/") if self.upstream_url else f"http://{self.address}/v1"

    @property
    def chosen_by_user(self) -> bool:
        """An upstream URL came from a person and is checked before every connection; an address is our own."""
        return bool(self.upstream_url)


@dataclass(frozen=True, slots=True)
class Deployment:
    """`name` is the OpenAI `model`; `created` is in Unix seconds.

    `fallbacks` name deployments of its project that answer, in order, where no target of its own can, also after
    `fallback_seconds` without a first byte (0: never for that); the prices are the highest among them. `refused_regions`:
    those of rented engines that the project does not allow (any more), and which are no targets therefore. `adapters`
    are those that can be asked for now.
    """

    name: str
    project: str
    targets: tuple[Target, ...] = ()
    created: int = 0
    fallbacks: tuple[str, ...] = ()
    fallback_seconds: float = 0.0
    fallback_input_price: int = 0
    fallback_output_price: int = 0
    refused_regions: tuple[str, ...] = ()
    adapters: tuple[Adapter, ...] = ()

    @property
    def resource(self) -> str:
        return f"projects/{self.project}/deployments/{self.name}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All of it. `keys` by SHA-256 hex, `deployments` by (project, name), `projects` by slug."""

    revision: int = 0
    keys: Mapping[str, Key] = field(default_factory=dict)
    projects: Mapping[str, Project] = field(default_factory=dict)
    deployments: Mapping[tuple[str, str], Deployment] = field(default_factory=dict)

    def models_of(self, project: str) -> list[Deployment]:
        return [deployment for (owner, _), deployment in sorted(self.deployments.items()) if owner == project]

    def limits_of(self, project: str) -> Limits:
        known = self.projects.get(project)
        return known.limits if known is not None else NO_LIMITS

    def hooks(self) -> set[tuple[str, bool]]:
        """Addresses of guardrail hooks, which people chose."""
        policies = [each.policy for each in self.projects.values() if each.policy is not None]
        guardrails = [each.guardrails for each in policies if each.guardrails is not None]
        return {(each.hook.url, True) for each in guardrails if each.hook is not None}

    def policy_of(self, project: str) -> Policy | None:
        known = self.projects.get(project)
        return known.policy if known is not None else None

    def keeps_completions(self, project: str) -> bool:
        known = self.projects.get(project)
        return known is not None and known.keeps_completions

    def keeps_personal_data(self, project: str) -> bool:
        known = self.projects.get(project)
        return known is not None and known.keeps_personal_data


def make_snapshot(
    revision: int, keys: Mapping[str, Key], projects: Mapping[str, Project], deployments: list[Deployment]
) -> Snapshot:
    """A snapshot that cannot be changed through the mappings that were given."""
    return Snapshot(
        revision=revision,
        keys=MappingProxyType(dict(keys)),
        projects=MappingProxyType(dict(projects)),
        deployments=MappingProxyType({(each.project, each.name): each for each in deployments}),
    )


def to_json(snapshot: Snapshot) -> str:
    return json.dumps(
        {
            "format": FORMAT,
            "revision": snapshot.revision,
            "keys": {digest: asdict(key) for digest, key in snapshot.keys.items()},
            "projects": {slug: asdict(project) for slug, project in snapshot.projects.items()},
            "deployments": [
                _fields(each) | {"targets": [_fields(target) for target in each.targets]}
                for each in snapshot.deployments.values()
            ],
        },
        ensure_ascii=False,
    )


def from_json(text: str | bytes) -> Snapshot:
    """Raises: ValueError for anything that is not a snapshot of this format."""
    try:
        raw = json.loads(text)
        if raw["format"] != FORMAT:
            raise ValueError(f"snapshot format {raw['format']} is not {FORMAT}")
        return make_snapshot(
            revision=int(raw["revision"]),
            keys={digest: Key(**_limited(fields)) for digest, fields in raw["keys"].items()},
            projects={slug: _project(fields) for slug, fields in raw["projects"].items()},
            deployments=[_deployment(fields) for fields in raw["deployments"]],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a snapshot: {error!r}") from error


def write_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Replaces the file at `path` in one step, 0600. A reader sees the old or the new, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(to_json(snapshot))
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


class SnapshotFile:
    """Reads the file again when it was replaced; keeps the last good one when the new one does not parse."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self.failures = 0

    def poll(self) -> Snapshot | None:
        """The new snapshot, or None where nothing changed, there is none yet, or it cannot be read.

        Raises: ValueError, once for each bad file, so that the caller can say so.
        """
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return None
        mark = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if mark == self._seen:
            return None
        self._seen = mark
        try:
            return from_json(self._path.read_bytes())
        except ValueError:
            self.failures += 1
            raise


def _fields(row: Any) -> dict[str, Any]:
    names = [each.name for each in dataclass_fields(row)]  # compiled, there are no slots to ask
    fields = {name: getattr(row, name) for name in names}
    if fields.get("adapters"):
        fields["adapters"] = [asdict(each) for each in fields["adapters"]]
    return fields


def _project(fields: dict[str, Any]) -> Project:
    return Project(**(_limited(fields) | {"policy": policy.from_fields(fields.get("policy"))}))


def _limited(fields: dict[str, Any]) -> dict[str, Any]:
    limits = dict(fields.get("limits") or {})
    if "budget_period" in limits:
        limits["budget_period"] = Period(limits["budget_period"])
    return fields | {"limits": Limits(**limits)}


def _deployment(fields: dict[str, Any]) -> Deployment:
    targets = tuple(_target(each) for each in fields["targets"])
    lists = {name: tuple(fields.get(name, ())) for name in ("fallbacks", "refused_regions")}
    return Deployment(**(fields | lists | {"targets": targets, "adapters": _adapters(fields)}))


def _target(fields: dict[str, Any]) -> Target:
    return Target(**(fields | {"state": TargetState(fields["state"]), "adapters": _adapters(fields)}))


def _adapters(fields: dict[str, Any]) -> tuple[Adapter, ...]:
    return tuple(Adapter(**(each | {"keys": tuple(each["keys"])})) for each in fields.get("adapters", ()))
