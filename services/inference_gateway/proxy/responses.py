"""OpenAI's Responses API, put to an engine as a chat completion and back.

Nothing is kept to be asked for again: `store` is taken and answered `false`, and what would need stored state
(`previous_response_id`, `conversation`, `background`, item references) is refused. The completion that is recorded,
and that feedback names, is the response's own `id` (`resp_…`).
"""

from __future__ import annotations

import json
import time
from typing import Any

from services.inference_gateway.proxy import answering, asking, ulid
from services.inference_gateway.proxy.answering import Answer
from services.inference_gateway.proxy.asking import CHAT, Asking
from services.inference_gateway.proxy.errors import ApiError, bad_request
from services.inference_gateway.proxy.upstream import Garbage

NEED_STATE = ("previous_response_id", "conversation", "background")
# Said to OpenAI's servers, or said otherwise in a chat completion; every other field goes on as it is.
NOT_FOR_ENGINES = frozenset({
    *NEED_STATE, "prompt", "input", "instructions", "max_output_tokens", "text", "tools", "tool_choice", "reasoning", "include",
    "store", "metadata", "truncation", "service_tier", "safety_identifier", "prompt_cache_key",
    "prompt_cache_retention", "max_tool_calls", "stream_options", "top_logprobs",
})  # fmt: skip
ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
ECHOED = ("instructions", "max_output_tokens", "metadata", "temperature", "top_p", "user")
INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}

Fields = dict[str, Any]


class ResponsesAsking(Asking):
    """The chat completion that is asked for, and in `asked` what the client said."""

    def __init__(self, chat: Asking, asked: Fields) -> None:
        super().__init__(CHAT, chat.raw, chat.fields, chat.model, chat.stream, wants_usage=False)
        self.asked = asked

    @property
    def may_keep(self) -> bool:
        return self.asked.get("store") is not False


def parse(body: bytes) -> Asking:
    """Raises: ApiError 400 that names the field."""
    asked = asking.load(body)
    _refuse_state(asked)
    chat = {name: value for name, value in asked.items() if name not in NOT_FOR_ENGINES}
    chat["messages"] = _messages(asked)
    if asked.get("max_output_tokens") is not None:
        chat["max_completion_tokens"] = asked["max_output_tokens"]
    if effort := _object(asked, "reasoning").get("effort"):
        chat["reasoning_effort"] = effort
    if form := _response_format(_object(asked, "text").get("format")):
        chat["response_format"] = form
    if asked.get("tools"):
        chat["tools"] = [_tool(each, f"tools[{at}]") for at, each in enumerate(_list(asked, "tools"))]
        if asked.get("tool_choice") is not None:
            chat["tool_choice"] = _tool_choice(asked["tool_choice"])
    plain = asking.completion(CHAT, json.dumps(chat, separators=(",", ":")).encode(), chat)
    ask = ResponsesAsking(plain, asked)
    ask.template = _object(asked, "prompt") or None
    return ask


def rewrite_reply(raw: bytes, response_id: str, ask: Asking) -> tuple[bytes, Answer]:
    """Raises: Garbage if the engine's reply is no completion."""
    fields, answer = answering.read_reply(raw)
    status = "incomplete" if answer.finish_reason in INCOMPLETE else "completed"
    try:
        choice = next(each for each in fields["choices"] if each.get("index", 0) == 0)
        output = _output(choice["message"], status)
    except (StopIteration, KeyError, TypeError, AttributeError) as error:
        raise Garbage("its reply has no message") from error
    body = response(response_id, ask, int(time.time()), status, output, fields.get("usage"), answer.finish_reason)
    return json.dumps(body, separators=(",", ":")).encode(), answer


# -- what goes back --------------------------------------------------------------------------------------------------


def response(
    response_id: str, ask: Asking, created: int, status: str, output: list[Fields], usage: Any = None, reason: str = ""
) -> Fields:
    """A response object. `usage` and `reason` (why it ended) are as a chat completion says them."""
    asked = ask.asked if isinstance(ask, ResponsesAsking) else {}
    text, tools = asked.get("text") or {}, asked.get("tools") or []
    return {
        "id": response_id,
        "object": "response",
        "created_at": created,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": INCOMPLETE[reason]} if reason in INCOMPLETE else None,
        "model": ask.model,
        "output": output,
        "parallel_tool_calls": asked.get("parallel_tool_calls") is not False,
        "previous_response_id": None,
        "reasoning": asked.get("reasoning") or {"effort": None, "summary": None},
        "store": False,
        "text": text | {"format": text.get("format") or {"type": "text"}},
        "tool_choice": asked.get("tool_choice") or "auto",
        "tools": tools,
        "truncation": "disabled",
        "usage": _usage(usage),
        **{name: asked.get(name) for name in ECHOED},
    }


def message(text: str, status: str, item_id: str = "") -> Fields:
    content = [text_part(text)] if text or status != "in_progress" else []
    item = {"id": item_id or f"msg_{ulid.new()}", "type": "message", "status": status, "role": "assistant"}
    return item | {"content": content}


def text_part(text: str) -> Fields:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def reasoning(text: str, status: str, item_id: str = "") -> Fields:
    content = [reasoning_part(text)] if text or status != "in_progress" else []
    item = {"id": item_id or f"rs_{ulid.new()}", "type": "reasoning", "status": status, "summary": []}
    return item | {"content": content}


def reasoning_part(text: str) -> Fields:
    return {"type": "reasoning_text", "text": text}


def function_call(call: Fields, arguments: str, status: str, item_id: str = "") -> Fields:
    """`call` is a chat completion's tool call, of which `arguments` may be but the beginning."""
    return {
        "id": item_id or f"fc_{ulid.new()}",
        "type": "function_call",
        "status": status,
        "call_id": str(call.get("id") or f"call_{ulid.new()}"),
        "name": str((call.get("function") or {}).get("name") or ""),
        "arguments": arguments,
    }


def _output(said: Fields, status: str) -> list[Fields]:
    items = []
    if thought := said.get("reasoning_content"):
        items.append(reasoning(str(thought), status))
    calls = said.get("tool_calls") or []
    if said.get("content") or not calls:
        items.append(message(str(said.get("content") or ""), status))
    items += [function_call(each, str(each["function"].get("arguments") or ""), status) for each in calls]
    return items


def _usage(usage: Any) -> Fields | None:
    if not isinstance(usage, dict):
        return None
    counted = Answer()
    counted.read_usage(usage)
    cached = _detail(usage, "prompt_tokens_details", "cached_tokens")
    thought = _detail(usage, "completion_tokens_details", "reasoning_tokens")
    return {
        "input_tokens": counted.prompt_tokens,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": counted.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": thought},
        "total_tokens": counted.total_tokens,
    }


def _detail(usage: Fields, group: str, name: str) -> int:
    details = usage.get(group)
    return answering.count(details.get(name)) if isinstance(details, dict) else 0


# -- what is asked ---------------------------------------------------------------------------------------------------


def _refuse_state(asked: Fields) -> None:
    for name in NEED_STATE:
        if asked.get(name):
            advice = f"`{name}` is not supported: Gyre keeps no responses to go on from. Send all items in `input`."
            raise bad_request("not_supported", advice, name)
    if asked.get("truncation") not in (None, "disabled"):
        raise bad_request("not_supported", "`truncation` can only be `disabled`: shorten the input.", "truncation")


def _messages(asked: Fields) -> list[Fields]:
    """The conversation as a chat completion has it: instructions first, calls joined to the turn that made them."""
    messages: list[Fields] = []
    if asked.get("instructions"):
        messages.append({"role": "system", "content": asked["instructions"]})
    given = asked.get("input")
    if not given and asked.get("prompt"):  # the prompt says it all
        return messages
    if isinstance(given, str) and given:
        return [*messages, {"role": "user", "content": given}]
    if not isinstance(given, list) or not given:
        raise bad_request("invalid_type", "`input` must be a text, or a list of items; not empty.", "input")
    for at, item in enumerate(given):
        where = f"input[{at}]"
        if not isinstance(item, dict):
            raise bad_request("invalid_type", f"`{where}` must be an object.", where)
        _add(messages, item, where)
    return messages


def _add(messages: list[Fields], item: Fields, where: str) -> None:
    match item.get("type", "message"):
        case "message":
            role = ROLES.get(str(item.get("role")))
            if role is None:
                raise bad_request(
                    "invalid_value", f"`{where}.role` must be one of {', '.join(ROLES)}.", f"{where}.role"
                )
            messages.append({"role": role, "content": _content(item.get("content"), f"{where}.content")})
        case "function_call":
            call = {"name": _text(item, "name", where), "arguments": _text(item, "arguments", where)}
            if not messages or messages[-1]["role"] != "assistant":
                messages.append({"role": "assistant", "content": ""})
            calls = messages[-1].setdefault("tool_calls", [])
            calls.append({"id": _text(item, "call_id", where), "type": "function", "function": call})
        case "function_call_output":
            content = _content(item.get("output"), f"{where}.output")
            messages.append({"role": "tool", "tool_call_id": _text(item, "call_id", where), "content": content})
        case "reasoning":
            pass  # what a model thought before is not shown to it again
        case other:
            raise _not_supported(f"Items of type `{str(other)[:100]}` are", f"{where}.type")


def _content(content: Any, where: str) -> Any:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise bad_request("invalid_type", f"`{where}` must be a text or a list of parts.", where)
    return [_part(part, f"{where}[{at}]") for at, part in enumerate(content)]


def _part(part: Any, where: str) -> Fields:
    kind = part.get("type") if isinstance(part, dict) else None
    match kind:
        case "input_text" | "output_text" | "text":
            return {"type": "text", "text": _text(part, "text", where)}
        case "refusal":
            return {"type": "text", "text": _text(part, "refusal", where)}
        case "input_image" if isinstance(part.get("image_url"), str):
            return {"type": "image_url", "image_url": {"url": part["image_url"], "detail": part.get("detail", "auto")}}
        case _:
            raise _not_supported(f"Content of type `{str(kind)[:100]}` is", where)


def _response_format(form: Any) -> Fields | None:
    kind = form.get("type") if isinstance(form, dict) else form
    match kind:
        case None | "text":
            return None
        case "json_object":
            return {"type": "json_object"}
        case "json_schema":
            return {"type": "json_schema", "json_schema": {key: form[key] for key in form if key != "type"}}
        case _:
            raise bad_request(
                "invalid_value", "`text.format.type` must be text, json_object or json_schema.", "text.format"
            )


def _tool(tool: Any, where: str) -> Fields:
    if not isinstance(tool, dict) or tool.get("type") != "function":
        kind = tool.get("type") if isinstance(tool, dict) else tool
        raise _not_supported(f"Tools of type `{str(kind)[:100]}` are", where)
    _text(tool, "name", where)
    return {"type": "function", "function": {key: tool[key] for key in tool if key != "type"}}


def _tool_choice(choice: Any) -> Any:
    if choice in ("auto", "none", "required"):
        return choice
    if isinstance(choice, dict) and choice.get("type") == "function":
        return {"type": "function", "function": {"name": _text(choice, "name", "tool_choice")}}
    raise bad_request("invalid_value", "`tool_choice` must be auto, none, required, or name a function.", "tool_choice")


def _object(asked: Fields, name: str) -> Fields:
    value = asked.get(name)
    if value is not None and not isinstance(value, dict):
        raise bad_request("invalid_type", f"`{name}` must be an object.", name)
    return value or {}


def _list(asked: Fields, name: str) -> list[Any]:
    if not isinstance(asked[name], list):
        raise bad_request("invalid_type", f"`{name}` must be a list.", name)
    return asked[name]


def _text(item: Fields, name: str, where: str) -> str:
    if not isinstance(item.get(name), str):
        raise bad_request("invalid_type", f"`{where}.{name}` must be a text.", f"{where}.{name}")
    return item[name]


def _not_supported(what: str, where: str) -> ApiError:
    return bad_request("not_supported", f"{what} not supported here: messages, functions and images are.", where)
