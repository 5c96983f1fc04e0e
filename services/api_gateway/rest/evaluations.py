"""Suites, evaluations, verdicts and comparisons."""

from __future__ import annotations

from gyre.evaluation.v1.comparison_service_pb2_grpc import ComparisonServiceStub
from gyre.evaluation.v1.evaluation_service_pb2_grpc import EvaluationServiceStub
from gyre.evaluation.v1.suite_service_pb2_grpc import SuiteServiceStub
from gyre.evaluation.v1.verdict_service_pb2_grpc import VerdictServiceStub

from services.api_gateway.rest.routing import Route

IN_PROJECT = {"parent": "projects/{project}"}
SUITE = {"name": "projects/{project}/suites/{suite}"}
EVALUATION = {"name": "projects/{project}/evaluations/{evaluation}"}
VERDICT = {"name": "projects/{project}/verdicts/{verdict}"}
COMPARISON = {"name": "projects/{project}/comparisons/{comparison}"}
SUITES, EVALUATIONS = "/projects/{project}/suites", "/projects/{project}/evaluations"
COMPARISONS = "/projects/{project}/comparisons"

ROUTES = [
    Route("GET", SUITES, SuiteServiceStub, "ListSuites", IN_PROJECT),
    Route("POST", SUITES, SuiteServiceStub, "CreateSuite", IN_PROJECT, required=("suite_id",)),
    Route("GET", f"{SUITES}/{{suite}}", SuiteServiceStub, "GetSuite", SUITE),
    Route("PATCH", f"{SUITES}/{{suite}}", SuiteServiceStub, "UpdateSuite", SUITE, resource="suite"),
    Route("DELETE", f"{SUITES}/{{suite}}", SuiteServiceStub, "DeleteSuite", SUITE),
    Route("GET", EVALUATIONS, EvaluationServiceStub, "ListEvaluations", IN_PROJECT),
    Route("POST", EVALUATIONS, EvaluationServiceStub, "CreateEvaluation", IN_PROJECT),
    Route("GET", f"{EVALUATIONS}/{{evaluation}}", EvaluationServiceStub, "GetEvaluation", EVALUATION),
    Route("POST", f"{EVALUATIONS}/{{evaluation}}:cancel", EvaluationServiceStub, "CancelEvaluation", EVALUATION),
    Route(
        "GET",
        f"{EVALUATIONS}/{{evaluation}}/results",
        EvaluationServiceStub,
        "ListResults",
        {"parent": EVALUATION["name"]},
    ),
    Route("GET", "/projects/{project}/verdicts", VerdictServiceStub, "ListVerdicts", IN_PROJECT),
    Route("POST", "/projects/{project}/verdicts", VerdictServiceStub, "CreateVerdict", IN_PROJECT),
    Route("GET", "/projects/{project}/verdicts/{verdict}", VerdictServiceStub, "GetVerdict", VERDICT),
    Route("GET", COMPARISONS, ComparisonServiceStub, "ListComparisons", IN_PROJECT),
    Route("POST", COMPARISONS, ComparisonServiceStub, "CreateComparison", IN_PROJECT),
    Route("GET", f"{COMPARISONS}/{{comparison}}", ComparisonServiceStub, "GetComparison", COMPARISON),
    Route("GET", f"{COMPARISONS}/{{comparison}}/flavor-costs", ComparisonServiceStub, "ListFlavorCosts", COMPARISON),
    Route("POST", f"{COMPARISONS}/{{comparison}}:cancel", ComparisonServiceStub, "CancelComparison", COMPARISON),
]
