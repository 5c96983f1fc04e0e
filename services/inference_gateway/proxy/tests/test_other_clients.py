"""Clients other than Python's `openai`, unchanged, through the gateway to a real llama.cpp with a real model."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from services.inference_gateway.proxy.snapshot import Target
from services.inference_gateway.proxy.tests.support import KEY, Running, deployment

NODE = Path(__file__).parent / "node"
NPM = Path(__file__).parents[3] / "console" / "scripts" / "npm.py"
LM_EVAL = "lm-eval[api]==0.4.13"
LANGCHAIN = "langchain-openai==1.7.4"
TASK = """
task: greetings
dataset_path: json
dataset_kwargs: {data_files: {test: %s}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\\n\\n"], max_gen_toks: 8, temperature: 0}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""


@pytest.fixture
async def running(start, engine) -> Running:
    return await start(deployment(Target("t1", version="1", address=engine)))


async def output_of(*command: str, cwd: Path, **environment: str) -> tuple[int, str]:
    """Exit status and all that was said; the process has three minutes."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env=os.environ | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), 180)
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode or 0, said.decode()


async def environment_with(requirement: str, folder: Path) -> str:
    """The Python of a new environment that has `requirement` above what is installed here."""
    venv.create(folder, with_pip=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "ours.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = str(folder / "bin" / "python")
    status, said = await output_of(python, "-m", "pip", "install", "-q", requirement, cwd=folder)
    assert status == 0, said
    return python


async def test_the_node_client_works_unchanged(running, tmp_path):
    folder = tmp_path / "node"
    shutil.copytree(NODE, folder)
    npm = (sys.executable, str(NPM))
    status, said = await output_of(*npm, "ci", "--prefix", str(folder), cwd=folder)
    assert status == 0, said
    address = {"OPENAI_BASE_URL": f"{running.url}/v1", "OPENAI_API_KEY": KEY}
    status, said = await output_of(*npm, "run", "--silent", "ask", "--prefix", str(folder), cwd=folder, **address)
    assert status == 0, said
    found = json.loads(said.splitlines()[-1])
    assert found["whole"] and found["streamed"] and found["response"] and found["models"] == ["hotline"]
    assert found["usage"]["completion_tokens"] == 8
    assert found["refusal"]["kind"] == "NotFoundError" and found["refusal"]["code"] == "model_not_found"
    assert found["refusal"]["requestID"]
    assert found["events"][0] == "response.created" and found["events"][-1] == "response.incomplete"


@pytest.mark.peers
async def test_lm_eval_works_unchanged(running, tmp_path):
    python = await environment_with(LM_EVAL, tmp_path / "venv")
    rows = [{"question": f"Say the word {word}.", "answer": word} for word in ("sun", "moon")]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "greetings.yaml").write_text(TASK % (tmp_path / "rows.jsonl"))
    arguments = f"model=hotline,base_url={running.url}/v1/chat/completions,num_concurrent=1,max_retries=1"
    status, said = await output_of(
        python, "-m", "lm_eval", "run", "--model", "local-chat-completions", "--model_args", arguments,
        "--tasks", "greetings", "--include_path", str(tmp_path), "--apply_chat_template",
        "--output_path", str(tmp_path / "out"),
        cwd=tmp_path, OPENAI_API_KEY=KEY, HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", HF_HOME=str(tmp_path / "hf"),
    )  # fmt: skip
    assert status == 0, said[-3000:]
    (result,) = tmp_path.rglob("results_*.json")
    assert json.loads(result.read_text())["n-samples"]["greetings"]["effective"] == 2
    assert running.metric("gyre_gateway_requests_total", route="/v1/chat/completions", status="200") >= 2


@pytest.mark.peers
async def test_langchain_works_unchanged(running, tmp_path):
    python = await environment_with(LANGCHAIN, tmp_path / "venv")
    script = Path(__file__).with_name("langchain_asks.py")
    address = {"OPENAI_BASE_URL": f"{running.url}/v1", "OPENAI_API_KEY": KEY}
    status, said = await output_of(python, str(script), cwd=tmp_path, LANGSMITH_TRACING="false", **address)
    assert status == 0, said[-3000:]
    found = json.loads(said.splitlines()[-1])
    assert found["whole"] and found["streamed"] == found["whole"]
    assert found["tokens"] == found["streamed_tokens"] == 8
    assert found["structured"]["colour"] in ("red", "blue")
    assert len(found["batch"]) == 2 and all(found["batch"])
    assert found["after_tool"] and found["responses"]
    assert found["refusal"] == [404, "model_not_found"]  # LangChain has a class of its own for it
