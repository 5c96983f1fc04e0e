"""The gateway's OpenAPI document: paths and methods from `gateway.ROUTES`, bodies as `asking` and `responses` read them.

It says what the gateway checks itself. Other fields are passed to the engine as they are, which is why every object
is open.
"""

from __future__ import annotations

from typing import Any

from services.inference_gateway.proxy import openapi_stored
from services.inference_gateway.proxy.bounds import MAX_CHOICES
from services.inference_gateway.proxy.gateway import MODELS, ROUTES

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
OPEN: Schema = {"type": "object"}
COUNT: Schema = {"type": "integer", "minimum": 0}
TOKENS: Schema = {"type": "integer", "minimum": 1}


def _object(required: str, **properties: Schema) -> Schema:
    """An open object; `required` is names with blanks between."""
    return {"type": "object", "required": required.split(), "properties": properties}


def _list(of: Schema, **bounds: int) -> Schema:
    return {"type": "array", "items": of, **bounds}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _any(*of: Schema) -> Schema:
    return {"anyOf": list(of)}


MODEL: Schema = {
    "type": "string", "minLength": 1, "description": "Name of a deployment; `name@version` pins a version.",
}  # fmt: skip
SAMPLING: dict[str, Schema] = {
    "model": MODEL,
    "stream": FLAG,
    "stream_options": {"type": "object", "properties": {"include_usage": FLAG}, "description": "With `stream` only."},
    "n": {"type": "integer", "minimum": 1, "maximum": MAX_CHOICES},
    "temperature": {"type": "number"},
    "top_p": {"type": "number"},
    "seed": {"type": "integer"},
    "stop": _any(TEXT, _list(TEXT)),
    "max_tokens": TOKENS,
    "store": {**FLAG, "description": "`false`: not kept for feedback, even where the project keeps completions."},
}
MESSAGE = _object("role", role=TEXT, content=_any(TEXT, _list(OPEN), {"type": "null"}), tool_calls=_list(OPEN))
USAGE = _object("total_tokens", prompt_tokens=COUNT, completion_tokens=COUNT, total_tokens=COUNT)
COMPLETION = {"id": TEXT, "object": TEXT, "model": TEXT, "choices": _list(OPEN), "usage": _ref("Usage")}

PROMPT = _object("id", id=TEXT, version=TEXT, variables=OPEN)
SCHEMAS: dict[str, Schema] = {
    "ChatRequest": _object(
        "model messages",
        **SAMPLING,
        messages=_list(MESSAGE, minItems=1),
        response_format=OPEN,
        tools=_list(OPEN),
        tool_choice=_any(TEXT, OPEN),
        logprobs=FLAG,
        top_logprobs=COUNT,
        max_completion_tokens=TOKENS,
        prompt=PROMPT,
    ),
    "TextRequest": _object(
        "model prompt", **SAMPLING, prompt=_any(TEXT, _list(TEXT), _list(COUNT), _list(_list(COUNT)))
    ),
    "EmbeddingsRequest": _object(
        "model input",
        model=MODEL,
        input=_any(
            {**TEXT, "minLength": 1},
            _list({**TEXT, "minLength": 1}, minItems=1),
            _list(COUNT, minItems=1),
            _list(_list(COUNT, minItems=1), minItems=1),
        ),
        encoding_format={"enum": ["float", "base64"]},
    ),
    "ResponsesRequest": _object(
        "model input",
        model=MODEL,
        input=_any({**TEXT, "minLength": 1}, _list(OPEN, minItems=1)),
        instructions=TEXT,
        stream=FLAG,
        max_output_tokens=TOKENS,
        temperature={"type": "number"},
        top_p={"type": "number"},
        tools=_list(_object("type name", type={"const": "function"}, name=TEXT, parameters=OPEN)),
        text={"type": "object", "properties": {"format": OPEN}},
        prompt=PROMPT,
        store={**FLAG, "description": "No response can be asked for again. `false`: not kept for feedback either."},
    ),
    "FeedbackRequest": _object(
        "completion_id",
        completion_id={**TEXT, "description": "The `id` of an answer."},
        rating={"enum": ["thumbs_up", "thumbs_down"]},
        correction=TEXT,
        comment=TEXT,
        slice=TEXT,
        user=TEXT,
        request_id=TEXT,
    ),
    "Usage": USAGE,
    "Completion": _object("id model choices", **COMPLETION),
    "Embeddings": _object("model data", model=TEXT, data=_list(OPEN), usage=_ref("Usage")),
    "Response": _object("id object status output", id=TEXT, object={"const": "response"}, status=TEXT,
                        output=_list(OPEN)),
    "InputTokens": _object("object input_tokens", object={"const": "response.input_tokens"}, input_tokens=COUNT),
    "Model": _object("id object created owned_by", id=TEXT, object={"const": "model"}, created=COUNT, owned_by=TEXT),
    "Models": _object("object data", object={"const": "list"}, data=_list(_ref("Model"))),
    "Health": _object("status snapshot_revision", status=TEXT, snapshot_revision=COUNT),
    "Feedback": OPEN,
    "SpansRequest": _object("resourceSpans", resourceSpans=_list(OPEN)),
    "Spans": {"type": "object", "properties": {"partialSuccess": OPEN}},
    "Error": _object(
        "error",
        error=_object(
            "message type param code", message=TEXT, type=TEXT, param=_any(TEXT, {"type": "null"}), code=TEXT
        ),
    ),
}  # fmt: skip

# path → (what it is for, the schema of its body, of its answer, whether it streams)
SAYS: dict[str, tuple[str, str, str, bool]] = {
    "/v1/chat/completions": ("Answer a conversation.", "ChatRequest", "Completion", True),
    "/v1/completions": ("Continue a text.", "TextRequest", "Completion", True),
    "/v1/embeddings": ("Turn texts into vectors.", "EmbeddingsRequest", "Embeddings", False),
    "/v1/responses": ("Answer by the Responses API.", "ResponsesRequest", "Response", True),
    "/v1/responses/input_tokens": ("Count the tokens of an input.", "ResponsesRequest", "InputTokens", False),
    "/v1/feedback": ("Say what you think of an answer.", "FeedbackRequest", "Feedback", False),
    "/v1/traces": ("Take an application's spans by OTLP, as JSON or protobuf.", "SpansRequest", "Spans", False),
    MODELS: ("List the deployments of the key's project.", "", "Models", False),
    f"{MODELS}/{{model}}": ("Look one up.", "", "Model", False),
    "/health": ("Say whether requests are taken.", "", "Health", False),
}
REFUSALS = {
    "400": "The request is wrong, or the model cannot do it; `param` names the field.",
    "401": "No key, or one that is not valid.",
    "403": "Another project's key.",
    "404": "No such model.",
    "413": "The body, or the prompt, is too large.",
    "415": "The body is in a form that is not taken.",
    "429": "Too many requests; `retry-after` says when to come back.",
    "502": "The engine failed.",
    "503": "No engine takes requests now; `retry-after` says when to come back.",
    "504": "The engine took too long.",
}


def document() -> dict[str, Any]:
    methods = {path: list(by_method) for path, by_method in ROUTES.items()} | {f"{MODELS}/{{model}}": ["GET"]}
    paths = {
        path: {method.lower(): _operation(path, *SAYS[path]) for method in allowed if method != "HEAD"}
        for path, allowed in methods.items()
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Gyre: the OpenAI endpoint", "version": "1"},
        "servers": [{"url": "http://127.0.0.1:8080"}],
        "security": [{"key": []}],
        "paths": paths | openapi_stored.paths(),
        "components": {
            "schemas": SCHEMAS | openapi_stored.SCHEMAS,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(path: str, summary: str, body: str, answer: str, streams: bool) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": _ref(answer)}}
    if streams:
        content["text/event-stream"] = {}
    error = {"application/json": {"schema": _ref("Error")}}
    replies: dict[str, Any] = {"200": {"description": "The answer.", "content": content}}
    operation: dict[str, Any] = {"summary": summary, "responses": replies}
    if path == "/health":
        replies["503"] = {"description": "Not now.", "content": content}
        return operation | {"security": []}
    replies |= {status: {"description": text, "content": error} for status, text in REFUSALS.items()}
    if body:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(body)}}}
    if path.endswith("{model}"):
        operation["parameters"] = [{"name": "model", "in": "path", "required": True, "schema": MODEL}]
    return operation
