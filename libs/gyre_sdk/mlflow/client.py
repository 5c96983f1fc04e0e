"""As much of MLflow's REST API as a registry needs: https://mlflow.org/docs/latest/rest-api.html

By httpx and not by `mlflow-skinny`, which brings 26 more packages (databricks-sdk, google-auth, gitpython among them).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx

from gyre_sdk.errors import GyreError

API, ARTIFACTS = "/api/2.0/mlflow", "/api/2.0/mlflow-artifacts/artifacts"
SCHEME = "mlflow-artifacts:"
SECONDS = 30.0
PAGE = 100


@dataclass(frozen=True)
class Version:
    """One version of a registered model, as far as it concerns us."""

    model: str
    number: str
    run_id: str
    source: str
    description: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Model:
    name: str
    description: str
    tags: Mapping[str, str]
    aliases: Mapping[str, str]  # alias → version number


@dataclass(frozen=True)
class File:
    """Path below a version's artefacts, size in bytes."""

    path: str
    size: int


@dataclass
class Run:
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)


class Mlflow:
    """One server. Credentials as MLflow's own client takes them: MLFLOW_TRACKING_TOKEN, or _USERNAME and _PASSWORD."""

    def __init__(self, uri: str) -> None:
        parts = urlsplit(uri)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise GyreError(400, "BAD_TRACKING_URI", f"{uri[:120]} is not the http(s) address of an MLflow server.")
        if parts.username or parts.password or parts.query or parts.fragment:
            remedy = "Set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
            raise GyreError(400, "BAD_TRACKING_URI", "Credentials do not belong in the address.", remedy)
        self.host = parts.netloc + parts.path.rstrip("/")
        # A redirect is not followed: the credentials are for this server alone.
        self._http = httpx.Client(base_url=uri.rstrip("/"), timeout=SECONDS, **_credentials())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def models(self) -> Iterator[Model]:
        for found in self._pages("registered-models/search", "registered_models", {}):
            aliases = {each["alias"]: str(each["version"]) for each in found.get("aliases", ())}
            yield Model(found["name"], found.get("description", ""), _tags(found), aliases)

    def versions(self, model: str) -> list[Version]:
        """Those that are READY, oldest first."""
        if "'" in model:  # the filter has no way to write one
            raise GyreError(400, "BAD_MODEL_NAME", f"{model} cannot be asked for: its name has a quotation mark.")
        found = self._pages("model-versions/search", "model_versions", {"filter": f"name='{model}'"})
        ready = [each for each in found if each.get("status", "READY") == "READY"]
        return [
            Version(model, str(each["version"]), each.get("run_id", ""), each.get("source", ""),
                    each.get("description", ""), _tags(each))
            for each in sorted(ready, key=lambda each: int(each["version"]))
        ]  # fmt: skip

    def run(self, run_id: str) -> Run:
        """Parameters and last metrics; empty where the run is gone."""
        try:
            data = self._get("runs/get", run_id=run_id)["run"].get("data", {})
        except GyreError as error:
            if not error.not_found:
                raise
            return Run()
        params = {each["key"]: str(each["value"]) for each in data.get("params", ())}
        return Run(params, {each["key"]: float(each["value"]) for each in data.get("metrics", ())})

    def files(self, version: Version) -> list[File]:
        """Raises: GyreError (ARTIFACTS_NOT_SERVED) where the server keeps them at a place that it does not hand out."""
        return list(self._below(self._root(version), ""))

    def fetch(self, version: Version, path: str, target: Path) -> None:
        with self._http.stream("GET", f"{ARTIFACTS}/{quote(f'{self._root(version)}/{path}')}") as reply:
            if reply.is_error:
                raise GyreError(reply.status_code, "ARTIFACT_UNREADABLE", f"MLflow does not hand out {path}.")
            with target.open("wb") as file:
                for chunk in reply.iter_bytes():
                    file.write(chunk)

    def create_model(self, name: str, description: str, tags: Mapping[str, str]) -> None:
        self._post("registered-models/create", name=name, description=description, tags=_listed(tags))

    def create_version(self, model: str, source: str, run_id: str, tags: Mapping[str, str]) -> str:
        """Its number."""
        given: dict[str, Any] = {"name": model, "source": source, "tags": _listed(tags)}
        if run_id:
            given["run_id"] = run_id
        return str(self._post("model-versions/create", **given)["model_version"]["version"])

    def tag_model(self, name: str, key: str, value: str) -> None:
        self._post("registered-models/set-tag", name=name, key=key, value=value)

    def tag_version(self, version: Version, key: str, value: str) -> None:
        self._post("model-versions/set-tag", name=version.model, version=version.number, key=key, value=value)

    def set_alias(self, model: str, alias: str, number: str) -> None:
        self._post("registered-models/alias", name=model, alias=alias, version=number)

    def ensure_run(self, experiment: str, tag: tuple[str, str], name: str, run: Run) -> str:
        """The id of the run with that tag, made and filled if it is missing."""
        experiment_id = self._experiment(experiment)
        wanted = f"tags.`{tag[0]}` = '{tag[1]}'"
        found = self._post("runs/search", experiment_ids=[experiment_id], filter=wanted, max_results=1).get("runs", ())
        if found:
            return str(found[0]["info"]["run_id"])
        tags = _listed({tag[0]: tag[1], "mlflow.runName": name})
        made = self._post("runs/create", experiment_id=experiment_id, start_time=0, tags=tags)["run"]["info"]["run_id"]
        metrics = [{"key": key, "value": value, "timestamp": 0, "step": 0} for key, value in run.metrics.items()]
        self._post("runs/log-batch", run_id=made, metrics=metrics, params=_listed(run.params))
        self._post("runs/update", run_id=made, status="FINISHED")
        return str(made)

    def _experiment(self, name: str) -> str:
        try:
            return str(self._get("experiments/get-by-name", experiment_name=name)["experiment"]["experiment_id"])
        except GyreError as error:
            if not error.not_found:
                raise
        return str(self._post("experiments/create", name=name)["experiment_id"])

    def _root(self, version: Version) -> str:
        uri = str(
            self._get("model-versions/get-download-uri", name=version.model, version=version.number)["artifact_uri"]
        )
        path = urlsplit(uri).path.strip("/") if uri.startswith(SCHEME) else ""
        if not path or ".." in path.split("/"):
            remedy = "Start the server with --serve-artifacts, or import the folder by `gyre models upload`."
            kept = uri.split(":", 1)[0][:20]
            raise GyreError(0, "ARTIFACTS_NOT_SERVED", f"Its files lie at {kept}:…, not with the server.", remedy)
        return path

    def _below(self, root: str, folder: str) -> Iterator[File]:
        reply = self._call("GET", ARTIFACTS, params={"path": f"{root}/{folder}".rstrip("/")})
        for entry in reply.get("files", ()):
            name = str(entry["path"]).rsplit("/", 1)[-1]
            if not name or name in (".", ".."):
                continue
            if entry.get("is_dir"):
                yield from self._below(root, f"{folder}{name}/")
            else:
                yield File(f"{folder}{name}", int(entry.get("file_size", 0)))

    def _pages(self, path: str, plural: str, query: dict[str, str]) -> Iterator[dict[str, Any]]:
        token = ""
        while True:
            more = {"page_token": token} if token else {}
            reply = self._get(path, max_results=PAGE, **query, **more)
            yield from reply.get(plural, ())
            token = reply.get("next_page_token", "")
            if not token:
                return

    def _get(self, path: str, **query: Any) -> dict[str, Any]:
        return self._call("GET", f"{API}/{path}", params=query)

    def _post(self, path: str, **body: Any) -> dict[str, Any]:
        return self._call("POST", f"{API}/{path}", json=body)

    def _call(self, verb: str, path: str, **options: Any) -> dict[str, Any]:
        """Raises: GyreError, with MLflow's own error code as the reason."""
        try:
            reply = self._http.request(verb, path, **options)
            answer = reply.json() if reply.content else {}
        except httpx.HTTPError as error:
            raise GyreError(0, "MLFLOW_UNREACHABLE", f"No MLflow answers at {self.host} ({error}).") from error
        except ValueError:
            answer = {}
        if not reply.is_success:
            said = answer if isinstance(answer, dict) else {}
            reason = str(said.get("error_code") or f"MLFLOW_HTTP_{reply.status_code}")
            message = str(said.get("message") or f"MLflow answered HTTP {reply.status_code}.")[:300]
            remedy = "Set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
            raise GyreError(reply.status_code, reason, message, remedy if reply.status_code in (401, 403) else "")
        return answer if isinstance(answer, dict) else {}


def _credentials() -> dict[str, Any]:
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return {"headers": {"authorization": f"Bearer {token}"}}
    if user := os.environ.get("MLFLOW_TRACKING_USERNAME"):
        return {"auth": (user, os.environ.get("MLFLOW_TRACKING_PASSWORD", ""))}
    return {}


def _tags(found: Mapping[str, Any]) -> dict[str, str]:
    return {each["key"]: str(each.get("value", "")) for each in found.get("tags", ())}


def _listed(pairs: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in pairs.items()]
