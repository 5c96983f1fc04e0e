"""As much of an MLflow server as a registry needs, in this process; tests/e2e/test_mlflow.py holds it to a real one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

API, ARTIFACTS = "/api/2.0/mlflow/", "/api/2.0/mlflow-artifacts/artifacts"
Body = dict[str, Any]


class Missing(Exception):
    pass


class FakeMlflow:
    def __init__(self) -> None:
        self.models: dict[str, Body] = {}
        self.versions: dict[str, list[Body]] = {}
        self.experiments: dict[str, str] = {}
        self.runs: dict[str, Body] = {}
        self.artifacts: dict[str, bytes] = {}
        self.authorizations: set[str] = set()

    def answer(self, path: str, given: Body) -> Body:
        method = getattr(self, re.sub(r"[/-]", "_", path), None)
        if method is None:
            raise Missing(path)
        reply: Body = method(**given)
        return reply

    def registered_models_create(self, name: str, description: str = "", tags: Any = ()) -> Body:
        self.models[name] = {"name": name, "description": description, "tags": list(tags), "aliases": []}
        self.versions[name] = []
        return {"registered_model": self.models[name]}

    def registered_models_search(self, max_results: Any, page_token: str = "") -> Body:
        """One on a page, so that pages are turned."""
        at = int(page_token or 0)
        more = {"next_page_token": str(at + 1)} if at + 1 < len(self.models) else {}
        return {"registered_models": list(self.models.values())[at : at + 1], **more}

    def registered_models_set_tag(self, name: str, key: str, value: str) -> Body:
        return _tag(self.models[name], key, value)

    def registered_models_alias(self, name: str, alias: str, version: str) -> Body:
        others = [each for each in self.models[name]["aliases"] if each["alias"] != alias]
        self.models[name]["aliases"] = [*others, {"alias": alias, "version": version}]
        return {}

    def model_versions_create(self, name: str, source: str, run_id: str = "", tags: Any = ()) -> Body:
        if source.startswith("http"):
            raise ValueError("'source' cannot use the 'http' scheme")
        number = str(len(self.versions[name]) + 1)
        version = {"name": name, "version": number, "source": source, "run_id": run_id, "tags": list(tags)}
        self.versions[name].append(version | {"status": "READY"})
        return {"model_version": version}

    def model_versions_search(self, filter: str, max_results: Any) -> Body:
        found = re.fullmatch(r"name='([^']*)'", filter)
        assert found, filter
        return {"model_versions": self.versions[found[1]]}

    def model_versions_set_tag(self, name: str, version: str, key: str, value: str) -> Body:
        return _tag(self.versions[name][int(version) - 1], key, value)

    def model_versions_get_download_uri(self, name: str, version: str) -> Body:
        return {"artifact_uri": self.versions[name][int(version) - 1]["source"]}

    def experiments_get_by_name(self, experiment_name: str) -> Body:
        if experiment_name not in self.experiments:
            raise Missing(experiment_name)
        return {"experiment": {"experiment_id": self.experiments[experiment_name]}}

    def experiments_create(self, name: str) -> Body:
        self.experiments[name] = str(len(self.experiments) + 1)
        return {"experiment_id": self.experiments[name]}

    def runs_create(self, experiment_id: str, start_time: int, tags: Any = ()) -> Body:
        run_id = f"{len(self.runs) + 1:032x}"
        info = {"run_id": run_id, "artifact_uri": f"mlflow-artifacts:/{experiment_id}/{run_id}/artifacts"}
        self.runs[run_id] = {"info": info, "data": {"tags": list(tags), "params": [], "metrics": []}}
        return {"run": self.runs[run_id]}

    def runs_get(self, run_id: str) -> Body:
        return {"run": self.runs[run_id]}

    def runs_search(self, experiment_ids: list[str], filter: str, max_results: int) -> Body:
        found = re.fullmatch(r"tags\.`([^`]+)` = '([^']+)'", filter)
        assert found, filter
        wanted = {"key": found[1], "value": found[2]}
        return {"runs": [run for run in self.runs.values() if wanted in run["data"]["tags"]][:max_results]}

    def runs_log_batch(self, run_id: str, metrics: Any, params: Any) -> Body:
        self.runs[run_id]["data"] |= {"metrics": metrics, "params": params}
        return {}

    def runs_update(self, run_id: str, status: str) -> Body:
        return {"run_info": self.runs[run_id]["info"]}

    def listing(self, path: str) -> Body:
        below = [key[len(path) + 1 :] for key in self.artifacts if key.startswith(f"{path}/")]
        folders = {rest.split("/")[0] for rest in below if "/" in rest}
        plain = [rest for rest in below if "/" not in rest]
        files = [{"path": name, "is_dir": False, "file_size": len(self.artifacts[f"{path}/{name}"])} for name in plain]
        return {"files": files + [{"path": name, "is_dir": True} for name in sorted(folders)]}


def _tag(thing: Body, key: str, value: str) -> Body:
    thing["tags"] = [tag for tag in thing["tags"] if tag["key"] != key] + [{"key": key, "value": value}]
    return {}


@contextmanager
def serving(mlflow: FakeMlflow) -> Iterator[str]:
    """Its address."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def reply(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def handle_call(self) -> None:
            mlflow.authorizations.add(self.headers.get("authorization", ""))
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            try:
                if parts.path.startswith(f"{ARTIFACTS}/"):
                    key = unquote(parts.path.removeprefix(f"{ARTIFACTS}/"))
                    if self.command == "PUT":
                        mlflow.artifacts[key] = body
                    return self.reply(200, mlflow.artifacts[key])
                if parts.path == ARTIFACTS:
                    return self.reply(200, json.dumps(mlflow.listing(query["path"])).encode())
                answer = mlflow.answer(parts.path.removeprefix(API), query | (json.loads(body) if body else {}))
                self.reply(200, json.dumps(answer).encode())
            except (Missing, KeyError):
                self.reply(404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "There is none."}')
            except ValueError as error:
                refusal = {"error_code": "INVALID_PARAMETER_VALUE", "message": str(error)}
                self.reply(400, json.dumps(refusal).encode())

        do_GET = do_POST = do_PUT = handle_call

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
