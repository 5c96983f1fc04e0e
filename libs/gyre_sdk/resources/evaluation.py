"""Suites, evaluations, verdicts and comparisons."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from gyre.evaluation.v1.comparison_pb2 import Comparison, FlavorCosts
from gyre.evaluation.v1.comparison_service_pb2 import CreateComparisonRequest, ListFlavorCostsResponse
from gyre.evaluation.v1.evaluation_pb2 import Evaluation, Result
from gyre.evaluation.v1.evaluation_service_pb2 import CreateEvaluationRequest
from gyre.evaluation.v1.suite_pb2 import Scorer, Suite
from gyre.evaluation.v1.suite_service_pb2 import CreateSuiteRequest
from gyre.evaluation.v1.verdict_pb2 import GateRule, Verdict
from gyre.evaluation.v1.verdict_service_pb2 import CreateVerdictRequest

from gyre_sdk import messages
from gyre_sdk.collection import Collection, request_id


class Suites(Collection[Suite]):
    kind, plural = Suite, "suites"

    def create(self, suite_id: str, dataset_version: str, scorer: Scorer | None = None, **fields: Any) -> Suite:
        """`fields`: display_name, slices, max_tokens, max_rows. Without a scorer answers must be equal to the text."""
        scorer = scorer or Scorer(kind=Scorer.KIND_EXACT_TEXT)
        request = CreateSuiteRequest(
            suite_id=suite_id, dataset_version=dataset_version, scorer=scorer, request_id=request_id(), **fields
        )
        return self._post(Suite, f"{self.parent}/suites", request)

    def delete(self, name: str, etag: str = "") -> None:
        self._delete(self.name(name), etag)


class Evaluations(Collection[Evaluation]):
    kind, plural, ends = Evaluation, "evaluations", ("SUCCEEDED",)

    def create(self, variant: str, suite: str, **fields: Any) -> Evaluation:
        """`variant` and `suite` by name. `fields`: display_name, queue, priority, pipeline, measure_cost."""
        request = CreateEvaluationRequest(variant=variant, suite=suite, request_id=request_id(), **fields)
        return self._post(Evaluation, f"{self.parent}/evaluations", request)

    def cancel(self, name: str) -> Evaluation:
        return self._post(Evaluation, self.name(name), verb="cancel")

    def results(self, name: str, **query: Any) -> Iterator[Result]:
        """Prompt, expected and given answer of each row. `query`: `filter` (`exact=false`), `query` (text)."""
        return self._all(Result, f"{self.name(name)}/results", "results", **query)


class Verdicts(Collection[Verdict]):
    kind, plural = Verdict, "verdicts"

    def create(self, candidate: str, baseline: str, rules: Iterable[GateRule], **fields: Any) -> Verdict:
        """Judges two evaluations of one suite. `fields`: display_name, seed, resamples."""
        request = CreateVerdictRequest(
            candidate=candidate, baseline=baseline, rules=list(rules), request_id=request_id(), **fields
        )
        return self._post(Verdict, f"{self.parent}/verdicts", request)

    @staticmethod
    def passed(verdict: Verdict) -> bool:
        return messages.enum_name(verdict, "state") == "PASSED"


class Comparisons(Collection[Comparison]):
    kind, plural, ends = Comparison, "comparisons", ("SUCCEEDED",)

    def create(self, version: str, suite: str, **fields: Any) -> Comparison:
        """Makes and measures quantisations of a registry version, by name. Returns it QUEUED.

        `fields`: quantisations, baseline, metric, margin (0.05 allows five points less), calibration, queue,
        only_flavor (by name, to measure there), display_name.
        """
        request = CreateComparisonRequest(version=version, suite=suite, request_id=request_id(), **fields)
        return self._post(Comparison, f"{self.parent}/comparisons", request)

    def create_of_models(self, versions: Iterable[str], suite: str, **fields: Any) -> Comparison:
        """Measures registry versions of several models, by name, on one suite: which of them fits. Returns it QUEUED.

        `fields`: quantisations (Q8_0 where none is given), metric, margin, queue, only_flavor, display_name.
        """
        request = CreateComparisonRequest(versions=list(versions), suite=suite, request_id=request_id(), **fields)
        return self._post(Comparison, f"{self.parent}/comparisons", request)

    def flavor_costs(self, name: str) -> list[FlavorCosts]:
        """What the candidates cost on each flavor of the platform; `costs` is empty where nothing was measured."""
        found = self._transport.call("GET", f"/{self.name(name)}/flavor-costs")
        return list(messages.parse(ListFlavorCostsResponse, found).flavors)

    def cancel(self, name: str) -> Comparison:
        return self._post(Comparison, self.name(name), verb="cancel")
