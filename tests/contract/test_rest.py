"""REST as its document promises, and each project kept from the others."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from services.api_gateway.rest.app import RESOURCES
from services.api_gateway.rest.routing import Route
from tests.conftest import Running

OPENAPI = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"
ROUTES: list[Route] = [route for resource in RESOURCES for route in resource.ROUTES]
LISTS = [route for route in ROUTES if route.verb == "GET" and re.fullmatch(r"/projects/{project}/\w[\w-]*", route.path)]
ABOUT_A_NAME = ("GetLineage", "GetLicenceTerms", "GetFit")  # not of the whole project
IN_PROJECTS = [route for route in ROUTES if "{project}" in route.path]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(OPENAPI.read_text("utf-8"))
    return loaded


def test_the_document_that_is_served_is_the_one_in_docs(rest: httpx.Client, document: dict[str, Any]) -> None:
    assert rest.get("/openapi.json").json() == document


@pytest.mark.parametrize("route", [r for r in LISTS if r.rpc not in ABOUT_A_NAME], ids=lambda route: route.rpc)
def test_a_list_is_what_the_document_promises(
    rest: httpx.Client, document: dict[str, Any], lived: str, route: Route
) -> None:
    reply = rest.get(route.path.format(project=lived))
    assert reply.status_code == 200, reply.text
    operation = document["paths"][f"/api/v1{route.path}"]["get"]
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.validate(reply.json(), {**schema, "components": document["components"]})


def test_a_wrong_key_is_refused_everywhere(running: Running) -> None:
    wrong = {"authorization": "Bearer gyre-wrong"}
    with httpx.Client(base_url=f"{running.rest_url}/api/v1", headers=wrong, timeout=30) as stranger:
        for route in ROUTES:
            path = re.sub(r"{\w+}", "x", route.path)
            body = {} if route.verb in ("POST", "PATCH") else None
            status = stranger.request(route.verb, path, json=body).status_code
            assert status in (400, 401), f"{route.verb} {path}: {status}"


@pytest.mark.parametrize("route", IN_PROJECTS, ids=lambda route: f"{route.verb}-{route.rpc}")
def test_a_key_of_another_project_finds_nothing(
    running: Running, outsider: httpx.Client, lived: str, route: Route
) -> None:
    path = re.sub(r"{\w+}", "1", route.path.replace("{project}", lived))
    body = dict.fromkeys(route.required, "x") if route.verb in ("POST", "PATCH") else None
    reply = outsider.request(route.verb, path, json=body)
    assert reply.status_code in (400, 404), f"{route.verb} {path}: {reply.status_code} {reply.text}"
    if reply.status_code == 400:
        assert reply.json()["reason"] == "INVALID_REQUEST"


@pytest.fixture(scope="module")
def outsider(running: Running, lived: str) -> httpx.Client:
    running.client().projects.create("outside")
    key = running.client("outside").keys.create("ADMIN", "outsider").secret
    headers = {"authorization": f"Bearer {key}"}
    return httpx.Client(base_url=f"{running.rest_url}/api/v1", headers=headers, timeout=30)


def test_rent_or_own_says_what_it_goes_by_and_only_to_those_of_the_project(
    rest: httpx.Client, outsider: httpx.Client, document: dict[str, Any], lived: str
) -> None:
    path = f"/projects/{lived}/rentOrOwn"
    typed = {"output_tokens": 1e9, "output_price_microusd": 600_000, "hour_price_microusd": 100_000}
    reply = rest.get(path, params={**typed, "tokens_per_second": 900})
    schema = document["components"]["schemas"]["RentOrOwn"]
    jsonschema.validate(reply.json(), {**schema, "components": document["components"]})
    (own,) = reply.json()["owned"]
    assert (own["machines"], reply.json()["rented"][0]["month_microusd"]) == (1, 600_000_000)
    assert rest.get(path, params={"utilisation": 2}).status_code == 400
    assert outsider.get(path).status_code == 404


def test_usage_is_split_only_by_what_there_is_and_within_a_period(rest: httpx.Client, lived: str) -> None:
    path = f"/projects/{lived}/usage"
    assert rest.get(path, params={"group_by": "day,colour"}).json()["reason"] == "UNKNOWN_GROUP"
    backwards = {"start_time": "2026-02-01T00:00:00Z", "end_time": "2026-01-01T00:00:00Z"}
    assert rest.get(path, params=backwards).json()["reason"] == "BAD_PERIOD"
    assert rest.get(path).json()["total"]["request_count"] == "0"
