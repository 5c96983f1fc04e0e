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
