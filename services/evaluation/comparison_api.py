"""Parse, call, render: comparisons."""

from __future__ import annotations

from typing import Any

from gyre.evaluation.v1 import comparison_pb2, comparison_service_pb2
from gyre.evaluation.v1.comparison_service_pb2_grpc import ComparisonServiceServicer
from gyre.model_registry.v1 import variant_service_pb2
from gyre.model_registry.v1.variant_service_pb2_grpc import VariantServiceStub
from gyre_kit import resources
from gyre_kit.app import Context
from gyre_kit.names import new_id, project_of
from gyre_kit.render import render

from services.evaluation import comparisons, flavors, service, store
from services.evaluation.measuring import Prices, check_vllm, known_flavors
from services.evaluation.models import Comparison


class ComparisonApi(ComparisonServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context
        self.db = context.db

    async def CreateComparison(
        self, request: comparison_service_pb2.CreateComparisonRequest, _: Any
    ) -> comparison_pb2.Comparison:
        project = project_of(request.parent)
        async with self.db.transaction() as session:
            if earlier := await resources.by_request(session, Comparison, project, request.request_id):
                return render(earlier, comparison_pb2.Comparison)
            suite = await service.active_suite(session, request.suite)
        baseline, metric = request.baseline or comparisons.BASELINE, request.metric or "exact"
        wanted = comparisons.wanted(request.version, request.versions, request.quantisations, baseline)
        comparisons.check(request.margin, metric, suite, wanted, calibration=request.calibration)
        if request.only_flavor:
            await self._check_flavor(request.only_flavor)
        if comparisons.needs_vllm(wanted):
            await check_vllm(self.context)
        given = {
            "display_name": request.display_name,
            "version": request.version,
            "suite": request.suite,
            "baseline": baseline if request.version else "",
            "metric": metric,
            "margin": request.margin,
            "calibration": request.calibration,
            "queue": request.queue,
            "only_flavor": request.only_flavor,
            "candidates": [await self._candidate(*each, request.calibration) for each in wanted],
        }
        async with self.db.transaction() as session:
            comparison = await comparisons.create(session, project, new_id(), given, request.request_id)
        self.context.wake()
        return render(comparison, comparison_pb2.Comparison)

    async def GetComparison(
        self, request: comparison_service_pb2.GetComparisonRequest, _: Any
    ) -> comparison_pb2.Comparison:
        async with self.db.transaction() as session:
            return render(await resources.get(session, Comparison, request.name), comparison_pb2.Comparison)

    async def ListComparisons(
        self, request: comparison_service_pb2.ListComparisonsRequest, _: Any
    ) -> comparison_service_pb2.ListComparisonsResponse:
        async with self.db.transaction() as session:
            found = await store.comparison_page(session, request)
        return comparison_service_pb2.ListComparisonsResponse(
            comparisons=[render(row, comparison_pb2.Comparison) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    async def ListFlavorCosts(
        self, request: comparison_service_pb2.ListFlavorCostsRequest, _: Any
    ) -> comparison_service_pb2.ListFlavorCostsResponse:
        async with self.db.transaction() as session:
            comparison = await resources.get(session, Comparison, request.name)
            alike = await store.comparisons_like(session, comparison)
            measured = flavors.measured(alike, {candidate["variant"] for candidate in comparison.candidates})
        prices = await known_flavors(self.context.clients)
        found = [
            comparison_pb2.FlavorCosts(
                flavor=flavor,
                cpu_hour_microusd=prices.get(flavor, Prices()).core_hour_microusd,
                gpu_hour_microusd=prices.get(flavor, Prices()).card_hour_microusd,
                costs=[comparison_pb2.FlavorCost(**row) for row in flavors.costs(measured.get(flavor, {}))],
            )
            for flavor in sorted({*prices, *measured}, key=lambda name: (name not in measured, name))
        ]
        return comparison_service_pb2.ListFlavorCostsResponse(flavors=found)

    async def CancelComparison(
        self, request: comparison_service_pb2.CancelComparisonRequest, _: Any
    ) -> comparison_pb2.Comparison:
        async with self.db.transaction() as session:
            comparison = await comparisons.cancel(session, request.name, request.etag)
        self.context.wake()
        return render(comparison, comparison_pb2.Comparison)

    async def _check_flavor(self, name: str) -> None:
        """Raises: FlavorUnknown."""
        known = await known_flavors(self.context.clients)
        if name not in known:
            raise comparisons.FlavorUnknown(field="only_flavor", given=name[:80], known="|".join(sorted(known)))

    async def _candidate(self, version: str, quantisation: str, calibration: str) -> comparisons.Candidate:
        """Asks the registry for the variant, which starts making it or finds it made. Raises: what the registry says."""
        calibrated = bool(calibration) and comparisons.takes_calibration(quantisation)
        variant = await self.context.clients.stub(VariantServiceStub).CreateVariant(
            variant_service_pb2.CreateVariantRequest(
                parent=version, quantisation=quantisation, calibration=calibration if calibrated else ""
            )
        )
        return {
            "quantisation": quantisation,
            "state": "QUANTISING",
            "variant": variant.name,
            "calibrated": calibrated,
        }
