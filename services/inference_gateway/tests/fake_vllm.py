"""`vllm serve` in small: the paths, fields and errors of vLLM 0.32 that Gyre depends on, over nothing that computes.

Its tokens are bytes, START and END; it is as sure of a token as `nats` says. `test_vllm.py`, and that of the evaluation,
asks it and, where there is one, the real engine the same questions.
"""

from __future__ import annotations

import argparse
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

METRICS = 'vllm:num_requests_running{engine="0",model_name="m"} 0.0\nvllm:num_requests_waiting{engine="0",model_name="m"} 0.0\n'


START, END = 256, 257


def nats(token: int) -> float:
    return token % 7 / 4


def rendered(messages: list[dict[str, str]], *, add_generation_prompt: bool) -> list[int]:
    """ChatML's, in tokens."""
    said = [[START, *f"{it['role']}\n{it['content']}".encode(), END, *b"\n"] for it in messages]
    return [token for each in said for token in each] + ([START, *b"assistant\n"] if add_generation_prompt else [])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    base = ""
    adapters: ClassVar[dict[str, str]] = {}

    def do_GET(self) -> None:
        if self.path == "/health":
            self._send(200, b"")
        elif self.path == "/metrics":
            self._send(200, METRICS.encode())
        elif self.path == "/v1/models":
            listed = [{"id": name, "object": "model"} for name in (self.base, *self.adapters)]
            self._json(200, {"object": "list", "data": listed})
        else:
            self._json(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        answer = {
            "/v1/chat/completions": self._chat,
            "/v1/completions": self._complete,
            "/tokenize": self._tokenize,
            "/v1/load_lora_adapter": self._load,
            "/v1/unload_lora_adapter": self._unload,
        }[self.path]
        answer(asked)

    def _chat(self, asked: dict[str, Any]) -> None:
        if asked["model"] not in (self.base, *self.adapters):
            self._error(404, "NotFoundError", f"The model `{asked['model']}` does not exist.")
            return
        message = {"role": "assistant", "content": f"I am {asked['model']}"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}
        fields = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": asked["model"]}
        if not asked.get("stream"):
            self._json(200, fields | {"choices": [choice], "usage": usage})
            return
        deltas = [{"index": 0, "delta": {"content": word}} for word in message["content"].split()]
        chunks = [{"choices": [each]} for each in deltas] + [{"choices": [], "usage": usage}]
        self._send(200, b"".join(b"data: " + json.dumps(it).encode() + b"\n\n" for it in chunks) + b"data: [DONE]\n\n")

    def _tokenize(self, asked: dict[str, Any]) -> None:
        if "messages" in asked:
            ids = rendered(asked["messages"], add_generation_prompt=asked["add_generation_prompt"])
        else:
            ids = [*([START] if asked.get("add_special_tokens", True) else []), *asked["prompt"].encode()]
        self._json(200, {"count": len(ids), "max_model_len": 1024, "tokens": ids, "token_strs": None})

    def _complete(self, asked: dict[str, Any]) -> None:
        """Of a prompt alone, with nothing after it."""
        assert asked["echo"] and asked["max_tokens"] == asked["prompt_logprobs"] == 0
        of_prompt = [{str(token): {"logprob": -nats(token), "rank": 1}} for token in asked["prompt"]]
        choice = {"index": 0, "text": "", "prompt_logprobs": [None, *of_prompt[1:]]}
        self._json(200, {"object": "text_completion", "choices": [choice]})

    def _load(self, asked: dict[str, Any]) -> None:
        name, path = asked["lora_name"], asked["lora_path"]
        if name in self.adapters:
            self._error(400, "InvalidUserInput", f"The lora adapter '{name}' has already been loaded.")
        elif not (Path(path) / "adapter_config.json").is_file():
            self._error(404, "NotFoundError", f"Loading lora {name} failed: No adapter found for {path}")
        else:
            self.adapters[name] = path
            self._send(200, f"Success: LoRA adapter '{name}' added successfully.".encode())

    def _unload(self, asked: dict[str, Any]) -> None:
        if self.adapters.pop(asked["lora_name"], None) is None:
            self._error(404, "NotFoundError", f"The lora adapter '{asked['lora_name']}' cannot be found.")
        else:
            self._send(200, b"Success")

    def _error(self, status: int, kind: str, message: str) -> None:
        self._json(status, {"error": {"message": message, "type": kind, "param": None, "code": status}})

    def _json(self, status: int, body: dict[str, Any]) -> None:
        self._send(status, json.dumps(body).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("serve")
    parser.add_argument("model")
    for name in ("host", "port", "served-model-name", "max-model-len", "max-num-seqs", "max-loras", "max-cpu-loras"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--max-lora-rank")
    parser.add_argument("--enable-lora", action="store_true", required=True)
    given = parser.parse_args()
    assert (Path(given.model) / "config.json").is_file()
    Handler.base = given.served_model_name
    ThreadingHTTPServer((given.host, int(given.port)), Handler).serve_forever()


if __name__ == "__main__":
    main()
