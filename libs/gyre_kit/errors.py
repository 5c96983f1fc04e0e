"""Domain errors. Use cases raise them, `rpc` turns them into `google.rpc.Status`, REST turns that into a problem.

Each error class is a reason: `NotInReview` travels as `NOT_IN_REVIEW`, with its keyword arguments as metadata and a
message that says what to do.
"""

from __future__ import annotations

import re
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status


class DomainError(Exception):
    """Something a caller can understand and act on."""

    code: grpc.StatusCode = grpc.StatusCode.UNKNOWN

    def __init__(self, message: str = "", **metadata: object) -> None:
        self.metadata = {key: str(value) for key, value in metadata.items()}
        self.message = message or _sentence(type(self), self.metadata)
        super().__init__(self.message)

    @property
    def reason(self) -> str:
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__).upper()


class NotFound(DomainError):
    """There is no such thing, or it belongs to a project that is not yours."""

    code = grpc.StatusCode.NOT_FOUND


class AlreadyExists(DomainError):
    """There is one of that name already."""

    code = grpc.StatusCode.ALREADY_EXISTS


class Invalid(DomainError):
    """The request itself is wrong; sending it again changes nothing."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class Precondition(DomainError):
    """The request is fine, but not in the state that things are in."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class Conflict(DomainError):
    """Somebody else changed it first: read it again."""

    code = grpc.StatusCode.ABORTED


class Denied(DomainError):
    """The caller's role does not allow this."""

    code = grpc.StatusCode.PERMISSION_DENIED


class Unauthenticated(DomainError):
    """No valid credential came with the call."""

    code = grpc.StatusCode.UNAUTHENTICATED


class Exhausted(DomainError):
    """A quota or a limit is used up."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class Unavailable(DomainError):
    """A part that is needed does not answer now; try again."""

    code = grpc.StatusCode.UNAVAILABLE


class Retriable(Exception):
    """Raised by a handler or reconciler that should be run again after `after` seconds."""

    def __init__(self, message: str, *, after: float = 1.0) -> None:
        super().__init__(message)
        self.after = after


class RemoteError(DomainError):
    """An error that another service answered with, as it came over the wire; it is passed on unchanged."""

    def __init__(self, code: grpc.StatusCode, reason: str, message: str, metadata: dict[str, str]) -> None:
        super().__init__(message, **metadata)
        self.code = code
        self._reason = reason

    @property
    def reason(self) -> str:
        return self._reason


def to_status(error: DomainError, domain: str) -> Any:
    """The wire form: code, message and one ErrorInfo{reason, domain, metadata}."""
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=f"gyre.{domain}", metadata=error.metadata)
    detail = any_pb2.Any()
    detail.Pack(info)
    code = code_pb2.Code.Value(error.code.name)
    return rpc_status.to_status(status_pb2.Status(code=code, message=error.message, details=[detail]))


def from_rpc(error: grpc.aio.AioRpcError) -> RemoteError:
    """Reads back what `to_status` wrote; a failure of the transport itself has its status code as reason."""
    reason, metadata = error.code().name, {}
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            reason, metadata = info.reason, dict(info.metadata)
    return RemoteError(error.code(), reason, error.details() or reason, metadata)


def _sentence(error: type[DomainError], metadata: dict[str, str]) -> str:
    """The first line of the class's docstring, with the facts behind it."""
    text = (error.__doc__ or error.__name__).strip().splitlines()[0].rstrip(".")
    facts = ", ".join(f"{key} {value}" for key, value in metadata.items())
    return f"{text} ({facts})." if facts else f"{text}."
