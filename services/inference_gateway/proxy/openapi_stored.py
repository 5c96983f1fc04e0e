"""The part of the gateway's OpenAPI document that is about files and batches: paths from `stored.METHODS`."""

from __future__ import annotations

from typing import Any

from services.inference_gateway.proxy.stored import BATCHES, FILES, METHODS

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
TIME: Schema = {"anyOf": [{"type": "integer", "description": "Unix seconds."}, {"type": "null"}]}
NAME: Schema = {"anyOf": [TEXT, {"type": "null"}]}
STATES = ["validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"]
ENDPOINTS = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"]
TIMES = [
    "in_progress_at",
    "expires_at",
    "finalizing_at",
    "completed_at",
    "failed_at",
    "expired_at",
    "cancelling_at",
    "cancelled_at",
]
BINARY: Schema = {"type": "string", "format": "binary"}


def _object(required: str, **properties: Schema) -> Schema:
    return {"type": "object", "required": required.split(), "properties": properties}


def _list(of: Schema) -> Schema:
    return _object(
        "object data has_more",
        object={"const": "list"}, data={"type": "array", "items": of}, first_id=NAME, last_id=NAME,
        has_more={"type": "boolean"},
    )  # fmt: skip


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


SCHEMAS: dict[str, Schema] = {
    "FileUpload": _object("file purpose", file=BINARY, purpose={"const": "batch"}) | {"additionalProperties": False},
    "File": _object(
        "id object bytes created_at filename purpose status",
        id=TEXT, object={"const": "file"}, bytes=COUNT, created_at=COUNT, filename=TEXT,
        purpose={"enum": ["batch", "batch_output"]}, status={"const": "processed"},
    ),
    "Files": _list(_ref("File")),
    "FileDeleted": _object("id object deleted", id=TEXT, object={"const": "file"}, deleted={"const": True}),
    "BatchRequest": _object(
        "input_file_id endpoint completion_window",
        input_file_id=TEXT,
        endpoint={"enum": ENDPOINTS},
        completion_window={**TEXT, "pattern": "^[1-9][0-9]{0,2}[hd]$", "description": "1h to 30d, for example 24h."},
        metadata={
            "anyOf": [
                {"type": "object", "additionalProperties": {**TEXT, "maxLength": 512}, "maxProperties": 16},
                {"type": "null"},
            ]
        },
    )
    | {"additionalProperties": False},
    "Batch": _object(
        "id object endpoint input_file_id completion_window status created_at request_counts",
        id=TEXT, object={"const": "batch"}, endpoint={"enum": ENDPOINTS}, input_file_id=TEXT, completion_window=TEXT,
        status={"enum": STATES}, output_file_id=NAME, error_file_id=NAME, created_at=COUNT,
        request_counts=_object("total completed failed", total=COUNT, completed=COUNT, failed=COUNT),
        **dict.fromkeys(TIMES, TIME),
    ),
    "Batches": _list(_ref("Batch")),
}  # fmt: skip
# method and path → (what it is for, the schema of its answer, its query parameters)
SAYS: dict[tuple[str, str], tuple[str, str, tuple[str, ...]]] = {
    ("GET", FILES): ("List the files, newest first.", "Files", ("after", "limit", "order", "purpose")),
    ("POST", FILES): ("Send a file.", "File", ()),
    ("GET", f"{FILES}/{{file}}"): ("Look one up.", "File", ()),
    ("DELETE", f"{FILES}/{{file}}"): ("Delete one.", "FileDeleted", ()),
    ("GET", f"{FILES}/{{file}}/content"): ("Fetch the bytes of one.", "", ()),
    ("GET", BATCHES): ("List the batches, newest first.", "Batches", ("after", "limit")),
    ("POST", BATCHES): ("Answer every line of a file in the background.", "Batch", ()),
    ("GET", f"{BATCHES}/{{batch}}"): ("Look one up.", "Batch", ()),
    ("POST", f"{BATCHES}/{{batch}}/cancel"): ("Ask nothing more.", "Batch", ()),
}
BODIES = {
    ("POST", FILES): {"multipart/form-data": {"schema": _ref("FileUpload")}},
    ("POST", BATCHES): {"application/json": {"schema": _ref("BatchRequest")}},
}
PARAMETERS: dict[str, Schema] = {
    "after": {**TEXT, "description": "The last id of the page before."},
    "limit": {"type": "integer", "minimum": 1, "maximum": 100},
    "order": {"enum": ["asc", "desc"]},
    "purpose": {"enum": ["batch", "batch_output"]},
}
REFUSALS = {
    "400": "The request is wrong; `param` names the field.",
    "401": "No key, or one that is not valid.",
    "403": "Another project's key, or a role that may not.",
    "404": "No such file or batch in this project.",
    "409": "It has ended, or something still reads it.",
    "413": "The file is too large, or the project's files are.",
    "429": "Too many requests; `retry-after` says when to come back.",
    "503": "The control plane does not answer now.",
}


def paths() -> dict[str, Any]:
    return {path: {method.lower(): _operation(method, path) for method in methods} for path, methods in METHODS.items()}


def _operation(method: str, path: str) -> dict[str, Any]:
    summary, answer, query = SAYS[method, path]
    content = {"application/json": {"schema": _ref(answer)}} if answer else {"application/octet-stream": {}}
    error = {"application/json": {"schema": _ref("Error")}}
    replies = {"200": {"description": "The answer.", "content": content}}
    replies |= {status: {"description": text, "content": error} for status, text in REFUSALS.items()}
    operation: dict[str, Any] = {"summary": summary, "responses": replies}
    parameters: list[dict[str, Any]] = [{"name": name, "in": "query", "schema": PARAMETERS[name]} for name in query]
    parameters += [
        {"name": name, "in": "path", "required": True, "schema": {**TEXT, "minLength": 1}}
        for name in ("file", "batch")
        if f"{{{name}}}" in path
    ]
    if parameters:
        operation["parameters"] = parameters
    if (method, path) in BODIES:
        operation["requestBody"] = {"required": True, "content": BODIES[method, path]}
    return operation
