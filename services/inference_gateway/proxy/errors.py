"""Every "no" of the OpenAI endpoint, in OpenAI's shape: `{"error": {message, type, param, code}}`.

The message says what to do; `code` is for programs. `ApiError` is raised anywhere and rendered in `connection.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import ceil

from services.inference_gateway.proxy import wire

INVALID = "invalid_request_error"
AUTHENTICATION = "authentication_error"
PERMISSION = "permission_error"
RATE_LIMIT = "rate_limit_error"
SERVER = "server_error"
NO_RETRY = {"x-should-retry": "false"}  # OpenAI's clients heed it

# llama.cpp answers 500 to these, though the client caused them: a chat with an embedding model, an image or a sound for
# a model that reads only text, and a text for embedding that is longer than its batch.
NO_CHAT = "does not support logits"
NO_IMAGES = "input is not supported"
TOO_LONG = "is too large to process"


class ApiError(Exception):
    """An answer other than 200. `close`: the connection cannot be used on, for the request was not read to its end."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        kind: str = INVALID,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.kind = kind
        self.param = param
        self.headers = wire.request_id() | dict(headers or {})
        self.close = close

    def body(self) -> bytes:
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return json.dumps({"error": error}, ensure_ascii=False).encode("utf-8", "replace")  # it may quote half a pair


def bad_request(code: str, message: str, param: str | None = None, close: bool = False) -> ApiError:
    return ApiError(400, code, message, param=param, close=close)


def invalid_json(detail: str) -> ApiError:
    return bad_request("invalid_json", f"The body is not valid JSON ({detail}). Send one JSON object in UTF-8.")


def unsupported_media(kind: str, encoding: str) -> ApiError:
    given = f"{kind or 'no content type'}{f', {encoding}' if encoding else ''}"
    message = f"Spans are taken as application/x-protobuf or application/json, plain or gzip; not as {given[:80]}."
    return ApiError(415, "unsupported_media_type", message)


def missing_key() -> ApiError:
    return ApiError(
        401,
        "missing_api_key",
        "No API key was sent. Send the header `Authorization: Bearer YOUR_KEY`; `gyre keys create` makes a key.",
        kind=AUTHENTICATION,
        headers={"www-authenticate": "Bearer"},
    )


def invalid_key() -> ApiError:
    """One answer for unknown and revoked keys, so that guessing teaches nothing."""
    return ApiError(
        401,
        "invalid_api_key",
        "This API key is not valid here, or was revoked. Check it, or make a new one with `gyre keys create`.",
        kind=AUTHENTICATION,
        headers={"www-authenticate": "Bearer"},
    )


def wrong_project(asked: str) -> ApiError:
    return ApiError(
        403,
        "wrong_project",
        f"This API key does not belong to the project '{asked}' that the header OpenAI-Project names. "
        "Leave the header out, or use a key of that project.",
        kind=PERMISSION,
    )


def project_needed() -> ApiError:
    return bad_request(
        "project_needed",
        "This API key may use several projects. Name one in the header OpenAI-Project "
        "(`OpenAI(project=…)` in the Python client).",
        param="OpenAI-Project",
    )


def unknown_path(path: str) -> ApiError:
    return ApiError(
        404,
        "unknown_url",
        f"There is nothing at {path[:200]}. This endpoint serves /v1/models, /v1/chat/completions, /v1/completions, "
        "/v1/responses, /v1/embeddings, /v1/files, /v1/batches and /v1/feedback; is the base URL right (…/v1)?",
    )


def method_not_allowed(method: str, allowed: str) -> ApiError:
    message = f"{method} is not possible here; use {allowed}."
    return ApiError(405, "method_not_allowed", message, headers={"allow": allowed})


def unknown_model(model: str, known: list[str]) -> ApiError:
    names = ", ".join(known[:10]) + (" …" if len(known) > 10 else "")
    hint = f"This project serves: {names}." if known else "This project has no deployment yet: create one first."
    message = f"The model '{model[:200]}' does not exist, or this key may not use it. {hint}"
    return ApiError(404, "model_not_found", message, param="model")


def unknown_version(model: str, version: str, known: list[str]) -> ApiError:
    hint = f"Serving now: {', '.join(known)}." if known else "It serves no version now."
    message = f"The deployment '{model}' has no version '{version[:100]}' that takes requests. {hint}"
    return ApiError(404, "model_version_not_found", message, param="model")


def unknown_adapter(model: str, adapter: str, known: list[str]) -> ApiError:
    names = ", ".join(f"{model}:{each}" for each in known[:10]) + (" …" if len(known) > 10 else "")
    hint = f"There are {names}." if known else "It has none that this key may use."
    message = f"The deployment '{model}' has no adapter '{adapter[:100]}', or this key may not use it. {hint}"
    return ApiError(404, "adapter_not_found", message, param="model")


def body_too_large(limit: int) -> ApiError:
    message = f"The body is larger than {limit:,} bytes. Send a smaller one, or raise GYRE_PROXY_MAX_BODY_BYTES."
    return ApiError(413, "body_too_large", message, close=True)


def file_too_large(limit: int) -> ApiError:
    message = f"The file is larger than {limit:,} bytes. Split it, or raise GYRE_PROXY_MAX_UPLOAD_BYTES."
    return ApiError(413, "file_too_large", message, param="file", close=True)


def headers_too_large(limit: int) -> ApiError:
    message = f"The request line and headers are larger than {limit:,} bytes. Send fewer or shorter headers."
    return ApiError(431, "headers_too_large", message, close=True)


def request_timeout(what: str) -> ApiError:
    return ApiError(408, "request_timeout", f"The {what} did not arrive in time. Send it in one go.", close=True)


def expired_key() -> ApiError:
    return ApiError(
        401,
        "expired_api_key",
        "This API key has expired. Make a new one with `gyre keys create`, or ask an admin to extend it.",
        kind=AUTHENTICATION,
        headers={"www-authenticate": "Bearer"},
    )


def rate_limited(what: str, wait_seconds: float) -> ApiError:
    """`what` says which limit, as a sentence without its full stop."""
    seconds = max(1, ceil(wait_seconds))
    message = f"{what}. Try again in {seconds} s, or ask an admin for a higher limit."
    return ApiError(429, "rate_limit_exceeded", message, kind=RATE_LIMIT, headers={"retry-after": str(seconds)})


def never_fits(what: str) -> ApiError:
    message = f"{what}: it would not fit into a whole minute. Send a shorter prompt or a smaller `max_tokens`."
    return ApiError(429, "request_too_large", message, kind=RATE_LIMIT, headers=NO_RETRY)


def insufficient_quota(what: str, wait_seconds: float) -> ApiError:
    """OpenAI's clients give up on `insufficient_quota` only when they are told to: days are too long to wait for."""
    if wait_seconds == float("inf"):
        message, headers = f"{what}. Ask an admin for a larger budget.", NO_RETRY
    else:
        seconds = ceil(wait_seconds)
        message = f"{what}. A new one begins in {_duration(seconds)}; until then ask an admin for a larger one."
        headers = NO_RETRY | {"retry-after": str(seconds)}
    return ApiError(429, "insufficient_quota", message, kind="insufficient_quota", headers=headers)


def budget_held(what: str, wait_seconds: float) -> ApiError:
    seconds = max(1, ceil(wait_seconds))
    message = f"{what}: requests that are running hold the rest of it. Try again in {seconds} s."
    headers = {"retry-after": str(seconds)}
    return ApiError(429, "insufficient_quota", message, kind="insufficient_quota", headers=headers)


def _duration(seconds: int) -> str:
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    return (
        f"{hours // 24} d {hours % 24} h" if hours >= 24 else f"{hours} h {minutes} min" if hours else f"{minutes} min"
    )


def overloaded(what: str, close: bool = False) -> ApiError:
    message = f"{what} Try again in a second."
    headers = {"retry-after": "1"}
    return ApiError(503, "overloaded", message, kind=SERVER, headers=headers, close=close)


def engine_busy(wait_seconds: float) -> ApiError:
    seconds = max(1, ceil(wait_seconds))
    message = f"The engine behind this model has more to do than anybody should wait for. Try again in {seconds} s."
    return ApiError(429, "engine_busy", message, kind=RATE_LIMIT, headers={"retry-after": str(seconds)})


def not_ready(model: str) -> ApiError:
    message = f"The deployment '{model}' has no engine that takes requests yet. Try again in some seconds."
    return ApiError(503, "deployment_not_ready", message, kind=SERVER, headers={"retry-after": "5"})


def not_awake(model: str, wait_seconds: float) -> ApiError:
    seconds = max(1, ceil(wait_seconds))
    message = f"The deployment '{model}' slept and is starting; it is not awake yet. Try again in {seconds} s."
    return ApiError(503, "deployment_not_ready", message, kind=SERVER, headers={"retry-after": str(seconds)})


def region_refused(model: str, regions: Sequence[str]) -> ApiError:
    where = ", ".join(region or "an unknown region" for region in regions)
    message = (
        f"The deployment '{model}' is served by a rented engine in {where}, where this project's prompts may not go. An "
        "administrator allows it with: gyre projects update PROJECT --regions …"
    )
    return ApiError(403, "region_refused", message, kind=PERMISSION)


def not_supported(detail: str) -> ApiError:
    """The client named the wrong kind of model: asking again, or another replica of it, is no use."""
    said = f" It says: {detail[:300]}" if detail else ""
    message = (
        f"The model behind this deployment cannot do this.{said} Name a deployment that can: an embedding model for "
        "/v1/embeddings, one that sees for images, a chat model for all else."
    )
    return bad_request("not_supported_by_model", message, "model")


def counts_no_tokens(engine: str) -> ApiError:
    message = f"An engine of the kind {engine} counts no tokens beforehand; those of llama.cpp and vLLM do."
    return bad_request("not_supported_by_model", message, "model")


def guardrail_refused(what: str, param: str | None) -> ApiError:
    return bad_request("guardrail_refused", f"{what} This project's guardrails do not let it pass.", param)


def guardrail_unavailable() -> ApiError:
    message = "The project's guardrail hook did not answer, and nothing passes without it. Try again soon."
    return ApiError(503, "guardrail_unavailable", message, kind=SERVER)


def internal() -> ApiError:
    return ApiError(500, "internal_error", "Something in the gateway broke; its log says what. Try again.", kind=SERVER)


def starting() -> ApiError:
    message = "The gateway has no routes yet: it is starting, or its control plane is down. Try again in a second."
    return ApiError(503, "starting", message, kind=SERVER, headers={"retry-after": "1"})


def upstream_failed(detail: str) -> ApiError:
    message = f"The engine behind this model failed: {detail}. Nothing was answered; it is safe to try again."
    return ApiError(502, "upstream_error", message, kind=SERVER)


def upstream_misconfigured(detail: str) -> ApiError:
    message = f"The engine behind this model is set up wrongly: {detail}. Tell whoever runs this deployment."
    return ApiError(502, "upstream_misconfigured", message, kind=SERVER)


def upstream_timeout(detail: str) -> ApiError:
    message = f"The engine behind this model took too long: {detail}. Ask for fewer tokens, stream, or try again."
    return ApiError(504, "upstream_timeout", message, kind=SERVER)


def from_upstream(status: int, body: bytes) -> ApiError:
    """An engine's refusal, reshaped. What the client caused stays a 4xx; what we caused by set-up becomes a 502."""
    message, code, param = details(body)
    if status in (401, 403):
        return upstream_misconfigured("it refused the gateway's credentials (upstream_key_ref)")
    if status == 404:
        return upstream_misconfigured(f"it knows no such path or model ({message[:300] or 'no details'})")
    if status == 501 or NO_CHAT in message or NO_IMAGES in message:
        return not_supported(message)
    if TOO_LONG in message:
        return bad_request("context_length_exceeded", message, "input")
    if status == 429:
        text = message or "The engine behind this model takes no more requests now. Try again later."
        return ApiError(429, code or "rate_limit_exceeded", text, kind=RATE_LIMIT, headers={"retry-after": "1"})
    if 400 <= status < 500:
        return ApiError(status, code or "invalid_request", message or f"The engine refused it ({status}).", param=param)
    return upstream_failed(f"it answered {status}" + (f" ({message[:300]})" if message else ""))


def details(body: bytes) -> tuple[str, str, str | None]:
    """message, code, param of an OpenAI-like error; llama.cpp's numeric code gives way to its type."""
    try:
        error = json.loads(body)["error"]
        if isinstance(error, str):
            return error, "", None
        code = error.get("code")
        text = code if isinstance(code, str) else str(error.get("type") or "")
        param = error.get("param")
        return str(error.get("message") or ""), text, param if isinstance(param, str) else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return "", "", None
