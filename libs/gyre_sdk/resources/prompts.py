"""Prompts with versions, and what a project wants done to its traffic."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from gyre.inference_gateway.v1.prompt_pb2 import Prompt, PromptTurn, PromptVersion
from gyre.inference_gateway.v1.prompt_service_pb2 import CreatePromptVersionRequest, SetPromptLabelRequest
from gyre.inference_gateway.v1.traffic_policy_pb2 import TrafficFindings, TrafficPolicy

from gyre_sdk import messages
from gyre_sdk.collection import Collection


class Prompts(Collection[Prompt]):
    """Used by a request as `prompt: {"id": "triage", "version": "production", "variables": {…}}`."""

    kind, plural = Prompt, "prompts"

    def push(
        self,
        name: str,
        messages: Sequence[dict[str, str]],
        parameters: dict[str, Any] | None = None,
        *,
        comment: str = "",
        label: str = "",
        display_name: str = "",
    ) -> PromptVersion:
        """A new version, and the prompt, too, if there is none; the newest content once more is that version. `messages`
        have `role` and `content`; `parameters` are those of a chat completion; `label` is moved to it at once."""
        request = CreatePromptVersionRequest(
            display_name=display_name,
            comment=comment,
            messages=[PromptTurn(**each) for each in messages],
            parameters_json=json.dumps(parameters or {}, ensure_ascii=False),
            label=label,
        )
        return self._post(PromptVersion, f"{self.name(name)}/versions", request)

    def version(self, name: str, number: int) -> PromptVersion:
        return self._get(PromptVersion, f"{self.name(name)}/versions/{number}")

    def versions(self, name: str) -> Iterator[PromptVersion]:
        """Newest first."""
        return self._all(PromptVersion, f"{self.name(name)}/versions", "versions")

    def label(self, name: str, label: str, version: int, etag: str = "") -> Prompt:
        """Moves `label` to `version`; 0 takes it away."""
        request = SetPromptLabelRequest(label=label, version=version, etag=etag)
        return self._post(Prompt, self.name(name), request, "setLabel")

    def delete(self, name: str, etag: str = "") -> None:
        """With all its versions, for good."""
        self._delete(self.name(name), etag)


class TrafficPolicies(Collection[TrafficPolicy]):
    """Guardrails and the exact cache: each project has one."""

    kind, plural = TrafficPolicy, "traffic-policy"

    def of_project(self) -> TrafficPolicy:
        return self._get(TrafficPolicy, f"{self.parent}/traffic-policy")

    def findings(self, since: str = "") -> TrafficFindings:
        """What guardrails found and what the cache did since `since` (RFC 3339), or in the last 24 hours."""
        path, query = f"/{self.parent}/traffic-policy/findings", {"start_time": since} if since else {}
        return messages.parse(TrafficFindings, self._transport.call("GET", path, query=query))

    def update(self, **changes: Any) -> TrafficPolicy:
        """`changes`: prompt_data, answer_data, injection, hook, cache (as JSON has them)."""
        return self._patch(TrafficPolicy, f"{self.parent}/traffic-policy", changes)
