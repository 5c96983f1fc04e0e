"""Some real life on the platform, for the contracts to be checked on."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from tests.conftest import Running

PLANTED = "Wilhelmine Quastenberg, 0151 23042"  # a name and a number that must turn up in no event


@pytest.fixture(scope="session")
def rest(running: Running) -> httpx.Client:
    headers = {"authorization": f"Bearer {running.admin_key}"}
    return httpx.Client(base_url=f"{running.rest_url}/api/v1", headers=headers, timeout=60)


@pytest.fixture(scope="session")
def lived(running: Running, rest: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The project `contract`, in which data was imported, a key made and revoked, and feedback given."""
    project = "contract"
    gyre = running.client()
    gyre.projects.create(project, consent_to_keep=True)
    gyre = running.client(project)
    gyre.keys.revoke(gyre.keys.create("VIEWER", "short-lived").name)
    file = _rows(tmp_path_factory.mktemp("rows"))
    version = gyre.datasets.import_file(file, "people", "SFT", licence="CC0-1.0", origin="made up")
    gyre.datasets.wait_version(version.name, timeout=60)
    bad = file.with_name("bad.jsonl")
    bad.write_text('{"neither": "this nor that"}\n' * 3, "utf-8")
    gyre.datasets.create("hopeless", "SFT")
    gyre.feedback.submit("chatcmpl-unknown", "THUMBS_DOWN", correction=PLANTED, comment=PLANTED)
    return project


def _rows(folder: Path) -> Path:
    path = folder / "people.jsonl"
    rows = [
        {"messages": [{"role": "user", "content": f"{PLANTED} asks {n}"}, {"role": "assistant", "content": f"{n}!"}]}
        for n in range(12)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path
