"""The one error that the client raises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

UNREACHABLE = "UNREACHABLE"
TIMEOUT = "TIMEOUT"
GATE_REASONS = frozenset(
    {"VERDICT_REQUIRED", "VERDICT_NOT_PASSED", "VERDICT_OF_ANOTHER_VARIANT", "GATE_REFUSED", "LICENCE_REFUSED"}
)


class GyreError(Exception):
    """A call that did not succeed.

    `status`: HTTP status, 0 if there was no answer or the failure is that of a run, evaluation or other long work.
    `reason`: for programs (VERSION_NOT_READY). `message`: what is wrong. `remedy`: what to do, if known.
    `metadata`: facts such as the field at fault.
    """

    def __init__(
        self, status: int, reason: str, message: str, remedy: str = "", metadata: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.reason, self.message, self.remedy = status, reason, message, remedy
        self.metadata = dict(metadata or {})

    @classmethod
    def from_problem(cls, status: int, problem: Mapping[str, Any]) -> GyreError:
        """From the body of an RFC 9457 problem."""
        metadata = {key: str(value) for key, value in (problem.get("metadata") or {}).items()}
        message = str(problem.get("detail") or problem.get("title") or f"HTTP {status}")
        reason = str(problem.get("reason") or f"HTTP_{status}")
        return cls(status, reason, message, metadata.get("remedy") or _REMEDIES.get(status, ""), metadata)

    @property
    def not_found(self) -> bool:
        return self.status == 404

    @property
    def refused_by_gate(self) -> bool:
        return self.reason in GATE_REASONS

    @property
    def unavailable(self) -> bool:
        return self.reason in (UNREACHABLE, TIMEOUT) or self.status in (502, 503, 504)


class InputError(GyreError):
    """A file that the command was given cannot be used as it is; the platform was not asked."""

    def __init__(self, reason: str, message: str, remedy: str = "", metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(0, reason, message, remedy, metadata)


_REMEDIES = {
    401: "Set GYRE_API_KEY, or run in the folder whose .gyre has the key that `gyre up` made.",
    403: "Use a key with a higher role: `gyre keys create --role ENGINEER`.",
    429: "Wait a moment and try again.",
    503: "`gyre status` shows which service is away; `gyre up` starts it again.",
    504: "`gyre status` shows which service is slow; try again.",
}
