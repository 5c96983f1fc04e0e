"""Parse, call, render: traffic policies and prompts."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf import empty_pb2
from google.protobuf.duration_pb2 import Duration
from gyre.inference_gateway.v1 import prompt_pb2, prompt_service_pb2, traffic_policy_pb2, traffic_policy_service_pb2
from gyre.inference_gateway.v1.prompt_service_pb2_grpc import PromptServiceServicer
from gyre.inference_gateway.v1.traffic_policy_service_pb2_grpc import TrafficPolicyServiceServicer
from gyre_kit.app import Context
from gyre_kit.render import render

from services.inference_gateway.models.policies import Prompt, PromptVersion, TrafficPolicy
from services.inference_gateway.policies import prompts, traffic_policies
from services.inference_gateway.policies import store as policy_store


class TrafficPolicyApi(TrafficPolicyServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context
        self.db = context.db

    async def GetTrafficPolicy(
        self, request: traffic_policy_service_pb2.GetTrafficPolicyRequest, _: Any
    ) -> traffic_policy_pb2.TrafficPolicy:
        async with self.db.transaction() as session:
            return policy_to_proto(await traffic_policies.of_project(session, request.name))

    async def UpdateTrafficPolicy(
        self, request: traffic_policy_service_pb2.UpdateTrafficPolicyRequest, _: Any
    ) -> traffic_policy_pb2.TrafficPolicy:
        async with self.db.transaction() as session:
            paths = list(request.update_mask.paths)
            policy = await traffic_policies.update(session, request.traffic_policy, paths)
        self.context.wake_event("publish_routes").set()
        return policy_to_proto(policy)

    async def GetTrafficFindings(
        self, request: traffic_policy_service_pb2.GetTrafficFindingsRequest, _: Any
    ) -> traffic_policy_pb2.TrafficFindings:
        since = request.start_time.ToDatetime(tzinfo=UTC) if request.HasField("start_time") else None
        async with self.db.transaction() as session:
            since, found = await traffic_policies.findings(session, request.name, since)
        reply = traffic_policy_pb2.TrafficFindings(name=request.name, findings=[_finding(row) for row in found])
        reply.start_time.FromDatetime(since)
        return reply


class PromptApi(PromptServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context
        self.db = context.db

    async def GetPrompt(self, request: prompt_service_pb2.GetPromptRequest, _: Any) -> prompt_pb2.Prompt:
        async with self.db.transaction() as session:
            return prompt_to_proto(await prompts.existing(session, request.name))

    async def ListPrompts(
        self, request: prompt_service_pb2.ListPromptsRequest, _: Any
    ) -> prompt_service_pb2.ListPromptsResponse:
        async with self.db.transaction() as session:
            found = await policy_store.prompt_page(session, request)
        return prompt_service_pb2.ListPromptsResponse(
            prompts=[prompt_to_proto(row) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    async def GetPromptVersion(
        self, request: prompt_service_pb2.GetPromptVersionRequest, _: Any
    ) -> prompt_pb2.PromptVersion:
        async with self.db.transaction() as session:
            version = await prompts.version(session, request.name)
            return version_to_proto(version, await prompts.existing(session, version.prompt))

    async def ListPromptVersions(
        self, request: prompt_service_pb2.ListPromptVersionsRequest, _: Any
    ) -> prompt_service_pb2.ListPromptVersionsResponse:
        async with self.db.transaction() as session:
            prompt = await prompts.existing(session, request.parent)
            found = await policy_store.version_page(session, request)
        return prompt_service_pb2.ListPromptVersionsResponse(
            versions=[version_to_proto(row, prompt) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    async def CreatePromptVersion(
        self, request: prompt_service_pb2.CreatePromptVersionRequest, _: Any
    ) -> prompt_pb2.PromptVersion:
        async with self.db.transaction() as session:
            prompt, version = await prompts.create_version(
                session,
                request.parent,
                [{"role": each.role, "content": each.content} for each in request.messages],
                request.parameters_json,
                display_name=request.display_name,
                comment=request.comment,
                label=request.label,
            )
        self.context.wake_event("publish_routes").set()
        return version_to_proto(version, prompt)

    async def SetPromptLabel(self, request: prompt_service_pb2.SetPromptLabelRequest, _: Any) -> prompt_pb2.Prompt:
        async with self.db.transaction() as session:
            prompt = await prompts.set_label(session, request.name, request.label, request.version, etag=request.etag)
        self.context.wake_event("publish_routes").set()
        return prompt_to_proto(prompt)

    async def DeletePrompt(self, request: prompt_service_pb2.DeletePromptRequest, _: Any) -> empty_pb2.Empty:
        async with self.db.transaction() as session:
            await prompts.delete(session, request.name, etag=request.etag)
        self.context.wake_event("publish_routes").set()
        return empty_pb2.Empty()


def policy_to_proto(row: TrafficPolicy) -> traffic_policy_pb2.TrafficPolicy:
    hook = cache = None
    if row.hook:
        hook = traffic_policy_pb2.GuardrailHook(
            url=row.hook["url"],
            timeout=_duration(row.hook["seconds"]),
            fails_open=row.hook["fails_open"],
            before=row.hook["before"],
            after=row.hook["after"],
            region=row.hook.get("region", ""),
        )
    if row.cache:
        modes = traffic_policy_pb2.AnswerCache
        cache = traffic_policy_pb2.AnswerCache(
            mode=modes.MODE_ALWAYS if row.cache["always"] else modes.MODE_ON_REQUEST,
            ttl=_duration(row.cache["seconds"]),
            deployments=row.cache["deployments"],
            billed=row.cache["billed"],
        )
    return render(row, traffic_policy_pb2.TrafficPolicy, hook=hook, cache=cache)


def prompt_to_proto(row: Prompt) -> prompt_pb2.Prompt:
    return render(row, prompt_pb2.Prompt, history=[_move(each) for each in row.history])


def version_to_proto(row: PromptVersion, prompt: Prompt) -> prompt_pb2.PromptVersion:
    return render(
        row,
        prompt_pb2.PromptVersion,
        parameters_json=json.dumps(row.parameters, ensure_ascii=False),
        variables=sorted(row.uses),
        labels=sorted(label for label, number in prompt.labels.items() if number == row.number),
    )


def _finding(row: Any) -> traffic_policy_pb2.TrafficFinding:
    shown = traffic_policy_pb2.TrafficFinding(what=row.what, action=row.action, count=row.count)
    shown.last_time.FromDatetime(row.last_time)
    return shown


def _move(move: dict[str, Any]) -> prompt_pb2.PromptMove:
    moved = prompt_pb2.PromptMove(**{name: value for name, value in move.items() if name != "time"})
    moved.time.FromDatetime(datetime.fromisoformat(move["time"]))
    return moved


def _duration(seconds: float) -> Duration:
    made = Duration()
    made.FromTimedelta(timedelta(seconds=seconds))
    return made
