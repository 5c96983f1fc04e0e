"""Traces: what was asked and answered, with the steps around it."""

from __future__ import annotations

from gyre.inference_gateway.v1.trace_pb2 import Trace
from gyre.inference_gateway.v1.trace_service_pb2 import DeleteSessionRequest, DeleteSessionResponse

from gyre_sdk.collection import Collection


class Traces(Collection[Trace]):
    """Of a project that consented. A completion's id will do wherever a trace's is asked for."""

    kind, plural = Trace, "traces"

    def delete(self, name: str) -> None:
        """Forgets a trace with all that is in it, for good."""
        self._delete(self.name(name))

    def delete_session(self, session: str) -> DeleteSessionResponse:
        """Forgets all that was kept of a session, by the name that the application gave it or by its hash."""
        request = DeleteSessionRequest(session=session)
        return self._post(DeleteSessionResponse, f"{self.parent}/sessions", request, "delete")
