"""What people send by mistake, through the doors that they have: refused with line, field and remedy; nothing stays.

"Nothing" is counted: the rows of all tables of all schemas, outboxes and audit log too, and the objects in the store.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import httpx
import pytest
from gyre.dataset.v1.version_pb2 import MixIn
from gyre_kit.settings import KitSettings
from gyre_sdk.client import Gyre
from gyre_sdk.errors import GyreError
from gyre_sdk.resources.serving import target
from gyre_trainers.testing import tiny_llama

from tests.conftest import Running
from tests.contract.traces import nothing_left_behind, settled

PROJECT = "bad-input"
MEGABYTE = 1_000_000
GOOD = b'{"instruction": "Name a colour.", "input": "", "output": "Blue."}\n'
OTHER = b'{"instruction": "Name a river.", "input": "", "output": "The Rhine."}\n'
PAIR = b'{"prompt": "Name a lake.", "chosen": "Lake Como.", "rejected": "No."}\n'
LATIN1 = '{"prompt": "Is the café open?", "completion": "Yes."}\n'.encode("latin-1")
CHINESE = '{"instruction": "请说出一种颜色。", "output": "蓝色是一种颜色。"}\n{"instruction": "中国最长的河？", "output": "长江。"}\n'

# content, file name, what it is for, reason, and what the message says: where, which field, and what to do
FILES: dict[str, tuple[bytes, str, str, str, tuple[str, ...]]] = {
    "not UTF-8": (LATIN1, "a.jsonl", "SFT", "NO_ROW_UNDERSTOOD", ("Line 1", "byte 23", "0xE9", "iconv")),
    "UTF-16": (GOOD.decode().encode("utf-16"), "a.jsonl", "SFT", "NOT_UTF8", ("Line 1", "UTF-16", "iconv")),
    "Big5": ("請說出一種顏色\n".encode("big5"), "a.csv", "SFT", "UNKNOWN_COLUMNS", ("Line 1", "name them instruction")),
    "a NUL byte": (b'{"prompt": "a\0b"}\n', "a.jsonl", "SFT", "NO_ROW_UNDERSTOOD", ("Line 1", "column 14", "remove it")),
    "an escaped NUL": (
        b'{"prompt": "a", "completion": "b\\u0000"}\n', "a.jsonl", "SFT", "NO_ROW_UNDERSTOOD",
        ("Line 1", "field completion", "NUL_CHARACTER", "remove it"),
    ),
    "a broken line alone": (
        b'{"prompt": "x", "completion": \n', "a.jsonl", "SFT", "NO_ROW_UNDERSTOOD",
        ("Line 1", "BROKEN_JSON", "column 30", "write one JSON object a line"),
    ),
    "a broken row of a list": (
        b'[\n{"prompt": "a", "completion": "b"},\n{"prompt": "c" "completion": "d"}\n]', "a.json", "SFT", "BROKEN_JSON",
        ("Line 3, column 16", "repair this one"),
    ),
    "a quote that never closes": (
        b'prompt,completion\na,b\n"c,d\n', "a.csv", "SFT", "BROKEN_CSV", ("Line 3", "close its quotes"),
    ),
    "an empty file": (b"", "a.jsonl", "SFT", "EMPTY_FILE", ("Line 1", "choose a file with at least one row")),
    "nothing but BOM and CRLF": (b"\xef\xbb\xbf\r\n\r\n", "a.csv", "SFT", "EMPTY_FILE", ("Line 1", "at least one row")),
    "a number for a text": (
        b'{"instruction": "Name a number.", "output": 5}\n', "a.jsonl", "SFT", "NO_ROW_UNDERSTOOD",
        ("Line 1", "field output", "WRONG_TYPE", "write a string"),
    ),
    "conversations for pairs": (
        GOOD, "a.jsonl", "PREFERENCE", "NO_ROW_UNDERSTOOD", ("Line 1", "field chosen", "put others in an SFT data set"),
    ),
    "pairs for conversations": (
        PAIR, "a.jsonl", "SFT", "NO_ROW_UNDERSTOOD", ("Line 1", "field rejected", "put it in a PREFERENCE data set"),
    ),
    "columns of something else": (b"colour\nred\n", "a.csv", "SFT", "UNKNOWN_COLUMNS", ("Line 1", "name them")),
    "an Excel file": (b"PK\3\4" + bytes(99), "a.xlsx", "SFT", "UNSUPPORTED_FILE", ("Byte 1", "save the sheet as CSV")),
}  # fmt: skip


@pytest.fixture(scope="module")
def gyre(running: Running) -> Iterator[Gyre]:
    running.client().projects.create(PROJECT)
    with running.client(PROJECT) as client:
        yield client


@pytest.fixture(scope="module")
def rows(gyre: Gyre, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A version that is READY, of two good rows, both to train on; its data set is `good`."""
    file = tmp_path_factory.mktemp("good") / "good.jsonl"
    file.write_bytes(GOOD + OTHER)
    version = gyre.datasets.import_file(file, "good")
    return gyre.datasets.wait_version(version.name, timeout=180).name


@pytest.fixture(scope="module")
def reward_model(gyre: Gyre, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model version that is READY and scores texts, but cannot write any."""
    folder = tmp_path_factory.mktemp("reward")
    model = tiny_llama(folder / "model", [GOOD.decode(), OTHER.decode()])
    config = model / "config.json"
    config.write_text(config.read_text().replace("LlamaForCausalLM", "LlamaForSequenceClassification"))
    archive = folder / "reward.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for path in model.iterdir():
            opened.write(path, path.name)
    version = gyre.models.import_as("reward", gyre.datasets.upload(archive).uri, licence="CC0-1.0")
    return gyre.models.wait_version(version.name, timeout=300).name


@pytest.fixture(scope="module")
def refused(running: Running, gyre: Gyre, rows: str, reward_model: str) -> Callable[[Callable[[], Any]], GyreError]:
    """Tries something that must get a 4xx and leave nothing behind; returns what was said."""
    settled(running)

    def attempt(something: Callable[[], Any]) -> GyreError:
        with nothing_left_behind(running), pytest.raises(GyreError) as caught:
            something()
        assert 400 <= caught.value.status < 500
        return caught.value

    return attempt


@pytest.fixture(scope="module")
def failed(running: Running, refused: object) -> Callable[..., CompletedProcess[str]]:
    """Runs a command that must fail, say so on stderr alone, and leave nothing behind."""

    def attempt(*arguments: str, key: str = "") -> CompletedProcess[str]:
        asking = replace(running, environment=running.environment | ({"GYRE_API_KEY": key} if key else {}))
        with nothing_left_behind(running):
            done = asking.command(*arguments, "-p", PROJECT)
        assert done.returncode not in (0, 2) and done.stdout == "" and "Traceback" not in done.stderr, done.stderr
        return done

    return attempt


@pytest.fixture(scope="module")
def stranger(running: Running, gyre: Gyre) -> Iterator[Gyre]:
    """An administrator of another project, with a data set of its own."""
    running.client().projects.create("elsewhere")
    key = running.client("elsewhere").keys.create("ADMIN", "stranger").secret
    with running.client("elsewhere", key) as client:
        client.datasets.create("own")
        settled(running)
        yield client


@pytest.mark.parametrize("what", FILES)
def test_a_bad_file_is_refused_with_line_field_and_remedy(
    gyre: Gyre, refused: Callable[..., GyreError], tmp_path: Path, what: str
) -> None:
    content, filename, type_, reason, says = FILES[what]
    file = tmp_path / filename
    file.write_bytes(content)
    error = refused(lambda: gyre.datasets.import_file(file, "never-made", type_))
    assert (error.status, error.reason) == (400, reason)
    for words in says:
        assert words in error.message


def test_the_command_says_the_same_and_exits_with_1(
    failed: Callable[..., CompletedProcess[str]], tmp_path: Path
) -> None:
    broken, empty = tmp_path / "broken.json", tmp_path / "empty.jsonl"
    broken.write_bytes(FILES["a broken row of a list"][0])
    empty.touch()
    done = failed("datasets", "import", str(broken))
    assert done.returncode == 1 and "Line 3, column 16" in done.stderr and "repair this one" in done.stderr
    done = failed("datasets", "import", str(empty), "--json")
    assert json.loads(done.stderr)["error"]["reason"] == "EMPTY_FILE"


@pytest.mark.parametrize("says_its_length", [True, False])
def test_200_megabytes_are_more_than_the_setting_allows(
    rest: httpx.Client, gyre: Gyre, refused: Callable[..., GyreError], tmp_path: Path, says_its_length: bool
) -> None:
    limit = KitSettings().max_upload_bytes
    file = tmp_path / "large.jsonl"
    with file.open("wb") as sparse:
        sparse.truncate(200 * MEGABYTE)

    def upload_at_once() -> None:
        with file.open("rb") as opened:
            reply = rest.put(f"/projects/{PROJECT}/uploads", params={"filename": file.name}, content=opened)
        raise GyreError.from_problem(reply.status_code, reply.json())

    error = refused(upload_at_once if says_its_length else lambda: gyre.datasets.upload(file))
    assert (error.status, error.reason, error.metadata["limit_bytes"]) == (413, "FILE_TOO_LARGE", str(limit))
    assert "plit" in error.message and "GYRE_MAX_UPLOAD_BYTES" in error.message


def test_a_byte_order_mark_crlf_and_gb18030_are_read_as_they_were_meant(gyre: Gyre, tmp_path: Path) -> None:
    file = tmp_path / "windows.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + (GOOD + OTHER).replace(b"\n", b"\r\n"))
    assert _questions(gyre, file) == {"Name a colour.", "Name a river."}
    file.write_bytes(CHINESE.encode("gb18030"))
    assert _questions(gyre, file) == {"请说出一种颜色。", "中国最长的河？"}


def test_among_good_lines_a_bad_one_is_refused_alone_by_line_field_and_remedy(gyre: Gyre, tmp_path: Path) -> None:
    file = tmp_path / "mixed.jsonl"
    file.write_bytes(GOOD + b'{"prompt": \n' + LATIN1 + b'{"prompt": "a\0b"}\n' + b'{"prompt": "x"}\n' + OTHER)
    assert _questions(gyre, file) == {"Name a colour.", "Name a river."}
    rejects = {reject.line: reject for reject in gyre.datasets.rejects("mixed")}
    assert {line: reject.reason for line, reject in rejects.items()} == {
        2: "BROKEN_JSON", 3: "NOT_UTF8", 4: "NUL_CHARACTER", 5: "MISSING_FIELD",
    }  # fmt: skip
    assert rejects[5].field == "completion" and all(reject.remedy for reject in rejects.values())


def test_data_that_does_not_exist_is_named(gyre: Gyre, refused: Callable[..., GyreError], reward_model: str) -> None:
    missing = f"projects/{PROJECT}/datasets/good/versions/99"
    error = refused(lambda: gyre.runs.create(base=reward_model, datasets=[missing]))
    assert (error.status, error.reason, error.metadata["field"]) == (404, "VERSION_NOT_FOUND", "datasets")
    assert missing in error.message and "gyre datasets versions" in error.message
    error = refused(lambda: gyre.datasets.create_version("nowhere", "gyre://dataset/uploads/none"))
    assert (error.status, error.reason) == (404, "DATASET_NOT_FOUND") and "gyre datasets list" in error.message
    error = refused(lambda: gyre.datasets.create_version("good", "gyre://dataset/uploads/none"))
    assert (error.status, error.reason) == (404, "SOURCE_NOT_FOUND") and "upload it" in error.message


def test_a_base_that_does_not_exist_is_named(gyre: Gyre, refused: Callable[..., GyreError], rows: str) -> None:
    missing = f"projects/{PROJECT}/models/reward/versions/99"
    error = refused(lambda: gyre.runs.create(base=missing, datasets=[rows]))
    assert (error.status, error.reason, error.metadata["base"]) == (404, "BASE_NOT_FOUND", missing)
    assert "gyre models versions" in error.message
    for source in ("bundled://nothing", "ftp://elsewhere/model", "gyre://dataset/uploads/none"):
        error = refused(lambda source=source: gyre.models.import_as("never-made", source))  # type: ignore[misc]
        assert (error.status, error.metadata["field"], error.metadata["given"]) == (400, "source", source)
        assert "bundled://smollm2" in error.message or "upload the archive again" in error.message


def test_a_base_of_another_architecture_is_refused_by_what_it_needs(
    gyre: Gyre, refused: Callable[..., GyreError], rows: str, reward_model: str
) -> None:
    error = refused(lambda: gyre.runs.create(base=reward_model, datasets=[rows]))
    assert (error.status, error.reason, error.metadata["base"]) == (400, "ARCHITECTURE_UNSUPPORTED", reward_model)
    assert "LlamaForSequenceClassification" in error.message and "ForCausalLM" in error.message


def test_a_method_for_rows_of_another_type_is_refused(
    gyre: Gyre, refused: Callable[..., GyreError], rows: str, reward_model: str
) -> None:
    error = refused(lambda: gyre.runs.create(method="DPO", base=reward_model, datasets=[rows]))
    assert (error.status, error.reason, error.metadata["field"]) == (400, "TYPE_MISMATCH", "datasets")
    assert "needs PREFERENCE" in error.message


def test_the_command_refuses_a_run_of_what_is_not_there(failed: Callable[..., CompletedProcess[str]]) -> None:
    model = "never-made"
    done = failed("runs", "start", "--base", "reward@99", "--data", "good", "--register-as", model)
    assert done.returncode == 3 and "gyre models versions" in done.stderr
    done = failed("runs", "start", "--base", "reward", "--data", "nowhere")
    assert done.returncode == 3 and "gyre datasets list" in done.stderr
    done = failed("runs", "start", "--base", "reward", "--data", "good", "--register-as", model)
    assert done.returncode == 1 and "ForCausalLM" in done.stderr
    done = failed("models", "import", "bundled://nothing")
    assert done.returncode == 1 and "bundled://smollm2" in done.stderr


def test_a_wrong_key_opens_nothing(
    running: Running, refused: Callable[..., GyreError], failed: Callable[..., CompletedProcess[str]], rows: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    file = tmp_path / "good.jsonl"
    file.write_bytes(GOOD)
    with running.client(PROJECT, "gyre-wrong") as outside:
        for attempt in (
            lambda: outside.datasets.upload(file),
            lambda: outside.datasets.create("never-made"),
            lambda: outside.runs.create(base="x", datasets=[rows]),
        ):
            error = refused(attempt)
            assert (error.status, error.reason) == (401, "WRONG_KEY") and "gyre keys create" in error.message
    done = failed("datasets", "import", str(file), key="gyre-wrong")
    assert done.returncode == 1 and "gyre keys create" in done.stderr


def test_names_of_another_project_are_as_if_they_did_not_exist(
    gyre: Gyre, stranger: Gyre, refused: Callable[..., GyreError], rows: str, reward_model: str, tmp_path: Path
) -> None:
    file = tmp_path / "good.jsonl"
    file.write_bytes(GOOD)
    upload = gyre.datasets.upload(file).uri
    dataset = rows.split("/versions/")[0]
    attempts: list[Callable[[], Any]] = [
        lambda: stranger.datasets.get(dataset),
        lambda: stranger.datasets.delete(dataset),
        lambda: stranger.datasets.create_version(dataset, upload),
        lambda: stranger.datasets.create_version("own", upload),
        lambda: stranger.datasets.create_version("own", mix_in=[MixIn(version=rows)]),
        lambda: stranger.runs.create(base=reward_model, datasets=[rows]),
        lambda: stranger.models.delete_version(reward_model),
        lambda: stranger.deployments.create("theirs", [target(f"{reward_model}/variants/hf")]),
    ]
    for attempt in attempts:
        error = refused(attempt)
        assert error.status == 404, error.message


def _questions(gyre: Gyre, file: Path) -> set[str]:
    """Imports `file` as the data set of its name; what its accepted rows ask."""
    version = gyre.datasets.wait_version(gyre.datasets.import_file(file, file.stem).name, timeout=180)
    return {row.messages[0].content for row in gyre.datasets.rows(version.name)}
