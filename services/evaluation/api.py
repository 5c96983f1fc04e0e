"""Parse, call, render."""

from __future__ import annotations

import asyncio
from typing import Any

from gyre.dataset.v1 import version_pb2 as dataset_version_pb2
from gyre.dataset.v1 import version_service_pb2 as dataset_versions
from gyre.dataset.v1.version_service_pb2_grpc import VersionServiceStub as DatasetVersionServiceStub
from gyre.evaluation.v1 import (
    evaluation_pb2,
    evaluation_service_pb2,
    suite_pb2,
    suite_service_pb2,
    verdict_pb2,
    verdict_service_pb2,
)
from gyre.evaluation.v1.evaluation_service_pb2_grpc import EvaluationServiceServicer
from gyre.evaluation.v1.suite_service_pb2_grpc import SuiteServiceServicer
from gyre.evaluation.v1.verdict_service_pb2_grpc import VerdictServiceServicer
from gyre_kit import resources
from gyre_kit.app import Context
from gyre_kit.errors import Precondition
from gyre_kit.names import new_id, project_of
from gyre_kit.render import enum_name, render

from services.evaluation import gate, results, service, store
from services.evaluation.measuring import pinned_spec
from services.evaluation.models import Evaluation, EvaluationState, Suite, Verdict


class VersionNotReady(Precondition):
    """The data set version is not READY."""


class SuiteApi(SuiteServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context
        self.db = context.db

    async def CreateSuite(self, request: suite_service_pb2.CreateSuiteRequest, _: Any) -> suite_pb2.Suite:
        await self._check_rows(request)
        given = {
            "display_name": request.display_name,
            "dataset_version": request.dataset_version,
            "split": enum_name(request, "split") or "TEST",
            "slices": list(request.slices),
            "scorer": {
                "kind": enum_name(request.scorer, "kind"),
                "exact_fields": list(request.scorer.exact_fields),
                "text_field": request.scorer.text_field,
            },
            "max_tokens": request.max_tokens or 128,
            "max_rows": request.max_rows,
        }
        async with self.db.transaction() as session:
            suite = await service.create_suite(
                session, project_of(request.parent), request.suite_id, given, request.request_id
            )
        return render(suite, suite_pb2.Suite)

    async def GetSuite(self, request: suite_service_pb2.GetSuiteRequest, _: Any) -> suite_pb2.Suite:
        async with self.db.transaction() as session:
            return render(await resources.get(session, Suite, request.name), suite_pb2.Suite)

    async def ListSuites(
        self, request: suite_service_pb2.ListSuitesRequest, _: Any
    ) -> suite_service_pb2.ListSuitesResponse:
        async with self.db.transaction() as session:
            found = await store.suite_page(session, request)
        return suite_service_pb2.ListSuitesResponse(
            suites=[render(row, suite_pb2.Suite) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    async def UpdateSuite(self, request: suite_service_pb2.UpdateSuiteRequest, _: Any) -> suite_pb2.Suite:
        async with self.db.transaction() as session:
            suite = await service.update_suite(session, request.suite, list(request.update_mask.paths))
        return render(suite, suite_pb2.Suite)

    async def DeleteSuite(self, request: suite_service_pb2.DeleteSuiteRequest, _: Any) -> suite_pb2.Suite:
        async with self.db.transaction() as session:
            return render(await service.delete_suite(session, request.name, request.etag), suite_pb2.Suite)

    async def _check_rows(self, request: suite_service_pb2.CreateSuiteRequest) -> None:
        """Raises: VersionNotReady; NoRows."""
        stub = self.context.clients.stub(DatasetVersionServiceStub)
        version = await stub.GetVersion(dataset_versions.GetVersionRequest(name=request.dataset_version))
        if version.state != dataset_version_pb2.Version.STATE_READY:
            raise VersionNotReady(name=version.name)
        on_train = request.split == dataset_version_pb2.SPLIT_TRAIN
        if not (version.train_count if on_train else version.test_count):
            raise service.NoRows(dataset_version=version.name, split="TRAIN" if on_train else "TEST")


class EvaluationApi(EvaluationServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context
        self.db = context.db

    async def CreateEvaluation(
        self, request: evaluation_service_pb2.CreateEvaluationRequest, _: Any
    ) -> evaluation_pb2.Evaluation:
        project = project_of(request.parent)
        async with self.db.transaction() as session:
            if earlier := await resources.by_request(session, Evaluation, project, request.request_id):
                return render(earlier, evaluation_pb2.Evaluation)
            suite = await service.active_suite(session, request.suite)
        evaluation_id = new_id()
        spec = await pinned_spec(
            self.context,
            request.variant,
            suite,
            f"{request.parent}/evaluations/{evaluation_id}",
            measure_cost=request.measure_cost,
        )
        given = {
            "display_name": request.display_name,
            "variant": request.variant,
            "suite": request.suite,
            "queue": request.queue,
            "priority": request.priority,
            "pipeline": request.pipeline,
            "spec": spec,
        }
        async with self.db.transaction() as session:
            evaluation = await service.create_evaluation(session, project, evaluation_id, given, request.request_id)
        self.context.wake()
        return render(evaluation, evaluation_pb2.Evaluation)

    async def GetEvaluation(
        self, request: evaluation_service_pb2.GetEvaluationRequest, _: Any
    ) -> evaluation_pb2.Evaluation:
        async with self.db.transaction() as session:
            return render(await resources.get(session, Evaluation, request.name), evaluation_pb2.Evaluation)

    async def ListEvaluations(
        self, request: evaluation_service_pb2.ListEvaluationsRequest, _: Any
    ) -> evaluation_service_pb2.ListEvaluationsResponse:
        async with self.db.transaction() as session:
            found = await store.evaluation_page(session, request)
        return evaluation_service_pb2.ListEvaluationsResponse(
            evaluations=[render(row, evaluation_pb2.Evaluation) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    async def CancelEvaluation(
        self, request: evaluation_service_pb2.CancelEvaluationRequest, _: Any
    ) -> evaluation_pb2.Evaluation:
        async with self.db.transaction() as session:
            evaluation = await service.cancel_evaluation(session, request.name, request.etag)
        self.context.wake()
        return render(evaluation, evaluation_pb2.Evaluation)

    async def ListResults(
        self, request: evaluation_service_pb2.ListResultsRequest, _: Any
    ) -> evaluation_service_pb2.ListResultsResponse:
        async with self.db.transaction() as session:
            evaluation = await resources.get(session, Evaluation, request.parent)
        if evaluation.state != EvaluationState.SUCCEEDED:
            raise service.NotSucceeded(name=evaluation.name, state=evaluation.state)
        found = results.page(
            await results.read(self.context.store, evaluation),
            filter=request.filter,
            query=request.query,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return evaluation_service_pb2.ListResultsResponse(
            results=[evaluation_pb2.Result(**row) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )


class VerdictApi(VerdictServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context
        self.db = context.db

    async def CreateVerdict(self, request: verdict_service_pb2.CreateVerdictRequest, _: Any) -> verdict_pb2.Verdict:
        asked = service.Judgement(
            project=project_of(request.parent),
            candidate=request.candidate,
            baseline=request.baseline,
            rules=[gate.Rule(rule.slice, rule.metric or "exact", rule.min_lower_bound) for rule in request.rules],
            seed=request.seed,
            resamples=min(request.resamples or gate.RESAMPLES, 100_000),
            display_name=request.display_name,
            request_id=request.request_id,
        )
        service.check_rules(asked.rules)
        async with self.db.transaction() as session:
            candidate = await resources.get(session, Evaluation, asked.candidate)
            baseline = await resources.get(session, Evaluation, asked.baseline)
        service.check_comparable(candidate, baseline)
        outcomes = await self._judge(candidate, baseline, asked)
        async with self.db.transaction() as session:
            verdict = await service.give_verdict(session, asked, (candidate.variant, baseline.variant), outcomes)
        return render(verdict, verdict_pb2.Verdict)

    async def GetVerdict(self, request: verdict_service_pb2.GetVerdictRequest, _: Any) -> verdict_pb2.Verdict:
        async with self.db.transaction() as session:
            return render(await resources.get(session, Verdict, request.name), verdict_pb2.Verdict)

    async def ListVerdicts(
        self, request: verdict_service_pb2.ListVerdictsRequest, _: Any
    ) -> verdict_service_pb2.ListVerdictsResponse:
        async with self.db.transaction() as session:
            found = await store.verdict_page(session, request)
        return verdict_service_pb2.ListVerdictsResponse(
            verdicts=[render(row, verdict_pb2.Verdict) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    async def _judge(self, candidate: Evaluation, baseline: Evaluation, asked: service.Judgement) -> list[gate.Outcome]:
        new = results.as_gate_rows(await results.read(self.context.store, candidate))
        old = results.as_gate_rows(await results.read(self.context.store, baseline))
        return await asyncio.to_thread(gate.judge, new, old, asked.rules, seed=asked.seed, resamples=asked.resamples)
