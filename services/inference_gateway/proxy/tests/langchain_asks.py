"""What an application on LangChain asks of the gateway; prints what came as one JSON object.

Run by test_other_clients.py in an environment that has langchain-openai. OPENAI_BASE_URL and OPENAI_API_KEY say where
and as whom.
"""

from __future__ import annotations

import json
from typing import Any, Literal

import openai
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel


class Colour(BaseModel):
    """A colour."""

    colour: Literal["red", "blue"]


@tool
def weather(city: str) -> str:
    """Tells the weather of a city."""
    return f"rain in {city}"


def model(**options: Any) -> ChatOpenAI:
    return ChatOpenAI(**({"model": "hotline", "temperature": 0, "max_tokens": 8, "max_retries": 0} | options))


def refusal() -> list[Any]:
    try:
        model(model="nobody").invoke("Hi")
    except openai.APIStatusError as error:
        return [error.status_code, error.code]
    return []


def main() -> None:
    asked = "Name three colours."
    whole = model().invoke(asked)
    pieces = list(model(stream_usage=True).stream(asked))
    total = pieces[0]
    for piece in pieces[1:]:
        total += piece
    call = {"id": "c1", "name": "weather", "args": {"city": "Oslo"}}
    turns = [
        HumanMessage("What is the weather in Oslo?"),
        AIMessage("", tool_calls=[call]),
        ToolMessage(weather.invoke({"city": "Oslo"}), tool_call_id="c1"),
    ]
    found = {
        "whole": whole.content,
        "tokens": whole.usage_metadata["output_tokens"],
        "streamed": total.content,
        "streamed_tokens": total.usage_metadata["output_tokens"],
        "structured": model(max_tokens=32)
        .with_structured_output(Colour, method="json_schema")
        .invoke("Red?")
        .model_dump(),
        "batch": [each.content for each in model().batch(["Say sun.", "Say moon."])],
        "after_tool": model().bind_tools([weather]).invoke(turns).content,
        "responses": model(use_responses_api=True).invoke(asked).text,
        "refusal": refusal(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
