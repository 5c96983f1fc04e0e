"""What Gyre asks of TGI, of a stand-in that Hugging Face's own client takes for one. TGI itself does not run here."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer

import aiohttp
import pytest
from huggingface_hub import InferenceClient

from services.inference_gateway.engines.base import Endpoint
from services.inference_gateway.engines.table import ENGINES
from services.inference_gateway.tests import fake_vllm


@pytest.fixture
def tgi() -> Iterator[str]:
    """Where one answers that calls its model `tgi`, as all do."""
    fields = {"base": "tgi", "adapters": {}, "log_message": lambda *_: None}
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Tgi", (fake_vllm.Handler,), fields)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


async def test_it_is_ready_when_it_answers(tgi: str) -> None:
    engine = ENGINES["tgi"]
    async with aiohttp.ClientSession() as http:
        assert (await engine.health(http, Endpoint(f"{tgi}/v1", "tgi"))).ready
        unknown = await engine.health(http, Endpoint(f"{tgi}/v1", "other"))
        assert not unknown.ready and "404" in unknown.detail


def test_hugging_face_s_client_takes_the_stand_in_for_one(tgi: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)  # the stand-in is no hub
    client = InferenceClient(base_url=tgi)
    answer = client.chat_completion([{"role": "user", "content": "Hi"}], model="tgi", max_tokens=1)
    assert answer.choices[0].message.content == "I am tgi"
    assert answer.usage.total_tokens == 4
