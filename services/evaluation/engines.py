"""The engines that can be judged, each by the program that serves: how it is started, and how it is asked what it
thinks of an answer that it did not give.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Protocol

from services.evaluation.asking import Running, post

LONGEST = 256  # tokens of an expected answer; what follows is left out
Messages = list[dict[str, str]]


class Engine(Protocol):
    """Required of every engine that is judged."""

    module: str  # of the program that a replica runs
    start_seconds: float
    surprises_at_once: bool  # whether `surprise` may be asked of several slots together

    def told(self, *, threads: int, python: str) -> dict[str, Any]:
        """What the program is told beside the weights, the port, the slots and their size."""
        ...

    def uncached(self) -> dict[str, Any]:
        """Fields of a request that is computed from its first token, whatever was asked before."""
        ...

    def surprise(self, at: Running, messages: Messages) -> list[float]:
        """Nats of each token of the last message and of the one that ends it, after the messages before it. Of a longer
        message the first LONGEST tokens count, and no end.
        """
        ...


class LlamaCpp:
    """Made to write the expected tokens by a grammar that allows nothing else; the log-probabilities that it reports are
    those from before the grammar. What ends an answer is the likeliest of the tokens that may.
    """

    module = "services.inference_gateway.engine"
    start_seconds = 300.0
    surprises_at_once = True

    def told(self, *, threads: int, python: str) -> dict[str, Any]:
        return {"threads": threads}

    def uncached(self) -> dict[str, Any]:
        return {"cache_prompt": False}

    def surprise(self, at: Running, messages: Messages) -> list[float]:
        ids = post(f"{at.root_url}/tokenize", {"content": messages[-1]["content"]})["tokens"]
        body = {
            "messages": messages[:-1],
            "grammar": "root ::= " + " ".join(f"<[{token}]>" for token in ids[:LONGEST]),
            "temperature": 0,
            "max_tokens": min(len(ids) + 1, LONGEST),
            "logprobs": True,
            "top_logprobs": 1,
        }
        choice = post(f"{at.base_url}/chat/completions", body)["choices"][0]
        return [-float(token["logprob"]) for token in choice["logprobs"]["content"]]


class Vllm:
    """Given the whole conversation as the prompt of `/v1/completions` and asked for `prompt_logprobs`, as vLLM 0.32 has
    it: raw ones, before sampling. What ends an answer is what the chat template puts after one.
    """

    module = "services.inference_gateway.engine_vllm"
    start_seconds = 1500.0  # its program waits for 1,200 itself, and says what was wrong
    # With --enable-lora, as replicas run, vLLM 0.32 dies of prompt_logprobs of several requests in one step.
    surprises_at_once = False

    def told(self, *, threads: int, python: str) -> dict[str, Any]:
        """It takes as many threads as it finds cores."""
        return {"python": python, "model_name": "judged"}

    def uncached(self) -> dict[str, Any]:
        return {"cache_salt": uuid.uuid4().hex}

    def surprise(self, at: Running, messages: Messages) -> list[float]:
        *before, answer = messages
        prompt = self._rendered(at, before, add_generation_prompt=True)
        asked = {"model": at.model, "prompt": answer["content"], "add_special_tokens": False}
        ids = post(f"{at.root_url}/tokenize", asked)["tokens"]
        expected = [*ids, *self._end(at, before)][:LONGEST]
        body = {
            "model": at.model,
            "prompt": [*prompt, *expected],
            "echo": True,  # with no answer after it
            "max_tokens": 0,
            "prompt_logprobs": 0,  # of the tokens that are there, and of no others
        }
        found = post(f"{at.base_url}/completions", body)["choices"][0]["prompt_logprobs"][len(prompt) :]
        return [-float(each[str(token)]["logprob"]) for token, each in zip(expected, found, strict=True)]

    def _end(self, at: Running, before: Messages) -> list[int]:
        """The first token that is the same after two different answers; none where the template ends with an answer."""
        one, other = (
            self._rendered(at, [*before, {"role": "assistant", "content": said}], add_generation_prompt=False)
            for said in ("yes", "no")
        )
        same = next((n for n, (a, b) in enumerate(zip(one[::-1], other[::-1], strict=False)) if a != b), 0)
        return one[len(one) - same :][:1]

    def _rendered(self, at: Running, messages: Messages, *, add_generation_prompt: bool) -> list[int]:
        """Tokens of a conversation in the model's own chat template."""
        body = {"model": at.model, "messages": messages, "add_generation_prompt": add_generation_prompt}
        tokens: list[int] = post(f"{at.root_url}/tokenize", body)["tokens"]
        return tokens


ENGINES: Mapping[str, Engine] = {"LLAMA_CPP": LlamaCpp(), "VLLM": Vllm()}
