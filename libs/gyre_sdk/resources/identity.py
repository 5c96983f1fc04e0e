"""Projects, API keys and the audit log."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from gyre.api_gateway.v1.audit_entry_pb2 import AuditEntry
from gyre.api_gateway.v1.key_pb2 import ApiKey
from gyre.api_gateway.v1.key_service_pb2 import CreateKeyRequest
from gyre.api_gateway.v1.limits_pb2 import Limits
from gyre.api_gateway.v1.project_pb2 import Project
from gyre.api_gateway.v1.project_service_pb2 import CreateProjectRequest
from gyre.inference_gateway.v1.spending_pb2 import ProjectSpending

from gyre_sdk import messages
from gyre_sdk.collection import Collection, Page, request_id
from gyre_sdk.errors import GyreError


class Projects(Collection[Project]):
    kind, plural = Project, "projects"

    def name(self, name_or_id: str) -> str:
        return name_or_id if name_or_id.startswith("projects/") else f"projects/{name_or_id}"

    def page(self, page_token: str = "", page_size: int = 50, **query: Any) -> Page[Project]:
        return self._page(Project, "projects", "projects", page_token, page_size, **query)

    def list(self, **query: Any) -> Iterator[Project]:
        """Those that the key may see."""
        return self._all(Project, "projects", "projects", **query)

    def create(self, project_id: str, display_name: str = "", consent_to_keep: bool = False) -> Project:
        """`consent_to_keep`: whether the gateway may keep what is asked and answered."""
        request = CreateProjectRequest(
            project_id=project_id, display_name=display_name, consent_to_keep=consent_to_keep, request_id=request_id()
        )
        return self._post(Project, "projects", request)

    def update(self, name: str, **changes: Any) -> Project:
        """`changes`: display_name, consent_to_keep, keep_personal_data, retention_days, requests_per_minute, limits,
        regions (as JSON has them)."""
        return self._patch(Project, self.name(name), changes)


class Keys(Collection[ApiKey]):
    kind, plural = ApiKey, "keys"

    def create(
        self,
        role: str,
        display_name: str = "",
        requests_per_minute: int = 0,
        limits: Limits | None = None,
        expires: datetime | None = None,
    ) -> ApiKey:
        """`role`: VIEWER, REVIEWER, ENGINEER or ADMIN. Only this reply has the `secret`."""
        request = CreateKeyRequest(
            role=messages.enum_value(CreateKeyRequest, "role", role),
            display_name=display_name,
            requests_per_minute=requests_per_minute,
            limits=limits,
        )
        if expires is not None:
            request.expire_time.FromDatetime(expires)
        return self._post(ApiKey, f"{self.parent}/keys", request)

    def get(self, name: str) -> ApiKey:
        """Raises: GyreError where the project has no such key."""
        found = next((key for key in self.list() if key.name == self.name(name)), None)
        if found is None:
            raise GyreError(
                404, "KEY_NOT_FOUND", f"There is no key {name} in this project.", "`gyre keys list` shows them."
            )
        return found

    def update(self, name: str, **changes: Any) -> ApiKey:
        """`changes`: display_name, requests_per_minute, limits, expire_time (as JSON has them)."""
        return self._patch(ApiKey, self.name(name), changes)

    def spending(self) -> ProjectSpending:
        """What the project and its keys have used of their budgets."""
        return self._get(ProjectSpending, f"{self.parent}/spending")

    def revoke(self, name: str) -> ApiKey:
        """Works at once."""
        return self._post(ApiKey, self.name(name), verb="revoke")

    def audit(self, **query: Any) -> Iterator[AuditEntry]:
        """Who changed what, newest first."""
        return self._all(AuditEntry, f"{self.parent}/auditEntries", "audit_entries", **query)
