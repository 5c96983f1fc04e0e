"""Uploads in parts as others see them: real gRPC, a real object store; and what the import makes of them."""

from __future__ import annotations

import json
import struct
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from gyre.model_registry.v1 import (
    model_service_pb2,
    upload_pb2,
    upload_service_pb2,
    variant_pb2,
    variant_service_pb2,
    version_pb2,
    version_service_pb2,
)
from gyre.model_registry.v1.model_service_pb2_grpc import ModelServiceStub
from gyre.model_registry.v1.upload_service_pb2_grpc import ModelUploadServiceStub
from gyre.model_registry.v1.variant_service_pb2_grpc import VariantServiceStub
from gyre.model_registry.v1.version_service_pb2_grpc import VersionServiceStub
from gyre_kit import resources
from gyre_kit.app import Context
from gyre_kit.auth import acting_as
from gyre_kit.errors import from_rpc
from gyre_kit.storage import ObjectStore, digest_of
from gyre_kit.testing import ENGINEER, STRANGER, ManualClock, Platform, expect_rpc_error
from gyre_trainers.exits import BadInput

from services.model_registry import adapters, arrived, files, main, service, uploads, variants
from services.model_registry.models import Variant, Version
from services.model_registry.settings import Settings
from services.model_registry.tests.test_service import STORED

Request = upload_service_pb2
PARENT = "projects/acme"


def safetensors(count: int = 4, name: str = "w") -> bytes:
    header = json.dumps({name: {"dtype": "F32", "shape": [count], "data_offsets": [0, 4 * count]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(4 * count)


MODEL = {"config.json": b'{"architectures": ["LlamaForCausalLM"]}', "model.safetensors": safetensors()}
ADAPTER = {
    "adapter_config.json": json.dumps({"peft_type": "LORA", "r": 8, "target_modules": ["v_proj", "q_proj"]}).encode(),
    "adapter_model.safetensors": safetensors(name="base_model.model.layers.0.q_proj.lora_A.weight"),
}


class Sender:
    """The stubs, and shorthands for what most tests do."""

    def __init__(self, context: Context, clients: Any) -> None:
        self.context = context
        self.uploads = clients.stub(ModelUploadServiceStub)
        self.versions = clients.stub(VersionServiceStub)
        self.variants = clients.stub(VariantServiceStub)
        self.models = clients.stub(ModelServiceStub)

    async def create(self, sizes: dict[str, int]) -> upload_pb2.ModelUpload:
        given = [upload_pb2.ModelUploadFile(path=path, size_bytes=size) for path, size in sizes.items()]
        return await self.uploads.CreateModelUpload(Request.CreateModelUploadRequest(parent=PARENT, files=given))

    async def part(self, upload: Any, path: str, content: bytes, number: int = 0, digest: str = "") -> Any:
        return await self.uploads.UploadPart(
            Request.UploadPartRequest(name=upload.name, path=path, number=number, content=content, digest=digest)
        )

    async def send(self, contents: dict[str, bytes]) -> upload_pb2.ModelUpload:
        upload = await self.create({path: len(content) for path, content in contents.items()})
        for path, content in contents.items():
            await self.part(upload, path, content)
        return await self.get(upload.name)

    async def get(self, name: str) -> upload_pb2.ModelUpload:
        return await self.uploads.GetModelUpload(Request.GetModelUploadRequest(name=name))

    async def objects(self) -> list[str]:
        return await self.context.store.list(uploads.PREFIX)


@pytest.fixture(scope="module")
async def serving(platform: Platform) -> AsyncIterator[Sender]:
    settings = platform.settings(Settings, max_model_upload_bytes=100_000_000)
    app = replace(main.app, settings=settings, reconcilers=(), handlers={})
    clients = platform.clients()
    async with platform.serving(app, clock=ManualClock()) as (context,):
        yield Sender(context, clients)
    await clients.close()
    await platform.empty("model_registry")


@pytest.fixture
def sender(serving: Sender) -> Iterator[Sender]:
    with acting_as(ENGINEER):
        yield serving


async def refused(call: Any, code: grpc.StatusCode = grpc.StatusCode.INVALID_ARGUMENT) -> str:
    async with expect_rpc_error(code) as caught:
        await call
    return str(from_rpc(caught[0]).reason)


async def test_whoever_comes_back_is_told_which_parts_are_there(sender: Sender) -> None:
    large = safetensors(uploads.PART_BYTES // 4)  # a little more than one part
    first, rest = large[: uploads.PART_BYTES], large[uploads.PART_BYTES :]
    upload = await sender.create({"config.json": 39, "model.safetensors": len(large)})
    await sender.part(upload, "model.safetensors", rest, number=1)
    await sender.part(upload, "model.safetensors", first)

    found = await sender.get(upload.name)

    assert upload_pb2.ModelUpload.Kind.Name(found.kind) == "KIND_WEIGHTS"
    assert [[(part.number, part.digest) for part in file.parts] for file in found.files] == [
        [],
        [(0, digest_of(first)), (1, digest_of(rest))],
    ]
    assert (found.received_bytes, found.size_bytes) == (len(large), len(large) + 39)
    reason = await refused(
        sender.versions.ImportVersion(
            version_service_pb2.ImportVersionRequest(parent=f"{PARENT}/models/none", source=found.uri)
        ),
        grpc.StatusCode.FAILED_PRECONDITION,
    )
    assert reason == "UPLOAD_INCOMPLETE"


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["config.json", "pytorch_model.bin"], "UNSAFE_FILE"),
        (["config.json", "model.safetensors", "modeling_own.py"], "UNSAFE_FILE"),
        (["config.json", "weights.PT"], "UNSAFE_FILE"),
        (["config.json", "../model.safetensors"], "BAD_FILE_NAME"),
        (["config.json", ".hidden.json", "model.safetensors"], "BAD_FILE_NAME"),
        (["config.json"], "FILES_INCOMPLETE"),
        (["a.gguf", "b.gguf"], "FILES_INCOMPLETE"),
        (["config.json", "model.safetensors", "model.safetensors"], "FILES_INCOMPLETE"),
    ],
)
async def test_files_that_make_no_model_or_may_run_code_are_refused(
    sender: Sender, names: list[str], reason: str
) -> None:
    given = [upload_pb2.ModelUploadFile(path=name, size_bytes=10) for name in names]
    call = sender.uploads.CreateModelUpload(Request.CreateModelUploadRequest(parent=PARENT, files=given))
    assert await refused(call) == reason


async def test_more_than_the_setting_allows_is_refused(sender: Sender) -> None:
    assert await refused(sender.create({"config.json": 10, "model.safetensors": 100_000_000})) == "UPLOAD_TOO_LARGE"


async def test_a_part_that_is_not_what_was_announced_is_refused_and_not_kept(sender: Sender) -> None:
    upload = await sender.create({"config.json": 10, "model.safetensors": 60, "extra.gguf.md": 4})
    before = await sender.objects()
    cases = [
        (sender.part(upload, "config.json", b"x" * 9), "PART_SIZE_WRONG"),
        (sender.part(upload, "config.json", b"x" * 10, number=1), "NO_SUCH_PART"),
        (sender.part(upload, "config.json", b"x" * 10, number=-1), "NO_SUCH_PART"),
        (sender.part(upload, "other.json", b"x" * 10), "NO_SUCH_PART"),
        (sender.part(upload, "config.json", b"x" * 10, digest="sha256:0"), "DIGEST_WRONG"),
        (sender.part(upload, "model.safetensors", b"\x80\x02}q" + b"x" * 56), "NOT_SAFETENSORS"),
    ]
    assert [await refused(call) for call, _ in cases] == [reason for _, reason in cases]
    assert await sender.objects() == before
    gguf = await sender.create({"a.gguf": 10})
    assert await refused(sender.part(gguf, "a.gguf", b"GGML" + b"x" * 6)) == "NOT_GGUF"


async def test_a_stranger_finds_no_upload(sender: Sender) -> None:
    upload = await sender.send(MODEL)
    with acting_as(STRANGER):
        await refused(sender.get(upload.name), grpc.StatusCode.NOT_FOUND)
        await refused(sender.part(upload, "config.json", b"x" * 39), grpc.StatusCode.NOT_FOUND)
        parent = f"projects/{STRANGER.project}/models/theirs"
        await sender.models.CreateModel(
            model_service_pb2.CreateModelRequest(parent=f"projects/{STRANGER.project}", model_id="theirs")
        )
        theft = version_service_pb2.ImportVersionRequest(parent=parent, source=upload.uri)
        await refused(sender.versions.ImportVersion(theft), grpc.StatusCode.NOT_FOUND)


async def test_an_upload_becomes_one_version_and_its_files_are_what_was_sent(sender: Sender, tmp_path: Path) -> None:
    await sender.models.CreateModel(model_service_pb2.CreateModelRequest(parent=PARENT, model_id="sent"))
    upload = await sender.send(MODEL)
    request = version_service_pb2.ImportVersionRequest(parent=f"{PARENT}/models/sent", source=upload.uri)

    version = await sender.versions.ImportVersion(request)

    assert version.state == version_pb2.Version.STATE_IMPORTING
    found = await sender.get(upload.name)
    assert (found.state, found.used_by) == (upload_pb2.ModelUpload.STATE_USED, version.name)
    assert await refused(sender.versions.ImportVersion(request), grpc.StatusCode.FAILED_PRECONDITION) == "UPLOAD_USED"
    assert (
        await refused(sender.part(upload, "config.json", b"y" * 39), grpc.StatusCode.FAILED_PRECONDITION)
        == "UPLOAD_USED"
    )
    folder = await arrived.assemble(sender.context.store, upload.uri, tmp_path / "model")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == MODEL


async def test_an_adapter_becomes_a_variant_of_its_bases_version(sender: Sender, tmp_path: Path) -> None:
    await sender.models.CreateModel(model_service_pb2.CreateModelRequest(parent=PARENT, model_id="base"))
    async with sender.context.db.transaction() as session:
        base = await service.import_version(session, f"{PARENT}/models/base", service.Import("bundled://smollm2"))
        await service.finish_version(session, base, STORED)
    upload = await sender.send(ADAPTER)
    as_version = version_service_pb2.ImportVersionRequest(parent=f"{PARENT}/models/base", source=upload.uri)
    assert await refused(sender.versions.ImportVersion(as_version)) == "UPLOAD_IS_ANOTHER"

    made = await sender.variants.CreateVariant(
        variant_service_pb2.CreateVariantRequest(
            parent=base.name, format=variant_pb2.Variant.FORMAT_ADAPTER, source=upload.uri, variant_id="polite"
        )
    )

    assert (made.name, made.state) == (f"{base.name}/variants/polite", variant_pb2.Variant.STATE_CREATING)
    folder = await arrived.assemble(sender.context.store, upload.uri, tmp_path / "adapter")
    assert arrived.about_adapter(folder) == {"rank": 8, "target_modules": ["q_proj", "v_proj"], "base": ""}
    (folder / "adapter_config.json").write_text('{"peft_type": "IA3", "r": 8, "target_modules": []}')
    with pytest.raises(BadInput, match="not a plain LoRA"):
        arrived.about_adapter(folder)


async def test_what_is_abandoned_or_imported_is_collected_with_its_parts(sender: Sender) -> None:
    clock: Any = sender.context.clock
    kept, left, cancelled = [await sender.send(MODEL) for _ in range(3)]
    await sender.uploads.DeleteModelUpload(Request.DeleteModelUploadRequest(name=cancelled.name))
    clock.advance(hours=50)
    await sender.part(kept, "config.json", b'{"architectures": ["QwenForCausalLM..."]}'[:39])
    clock.advance(hours=50)

    await uploads.collect(sender.context)

    assert (await sender.get(kept.name)).state == upload_pb2.ModelUpload.STATE_OPEN
    await refused(sender.get(left.name), grpc.StatusCode.NOT_FOUND)
    ids = {key.split("/")[2] for key in await sender.objects()}
    assert kept.name.rsplit("/", 1)[-1] in ids
    assert not ids & {each.name.rsplit("/", 1)[-1] for each in (left, cancelled)}


async def test_a_gguf_file_is_the_one_variant_of_its_version_and_cannot_be_quantised_again(session: Any) -> None:
    model = await service.create_model(session, "acme", "small", {}, "")
    version = await service.import_version(session, model.name, service.Import("hf://a/b"))
    stored = replace(STORED, gguf_sha256="ab" * 32, gguf_bytes=9, quantisation="Q4_K_M")

    await service.finish_version(session, version, stored)

    variant = await resources.get(session, Variant, f"{version.name}/variants/q4-k-m")
    assert (variant.format, variant.uri, variant.size_bytes) == ("GGUF", f"gyre://{files.BLOBS}/{'ab' * 32}", 9)
    with pytest.raises(adapters.WeightsMissing):
        await variants.create_variant(session, version.name, "Q8_0")
    assert (await resources.get(session, Version, version.name)).state == "READY"


@pytest.mark.parametrize(
    "header",
    [
        b"{" + b"x" * 30,
        json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 4000]}}).encode(),
        json.dumps({"w": {"dtype": "F32", "shape": [3], "data_offsets": [0, 16]}}).encode(),
        json.dumps({"w": {"dtype": "PICKLE", "shape": [4], "data_offsets": [0, 16]}}).encode(),
        json.dumps({"w": 1}).encode(),
        json.dumps({}).encode(),
    ],
)
def test_a_safetensors_file_whose_header_is_broken_is_told(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(16))
    with pytest.raises(files.NotSafetensors):
        files.tensors_of(path)


async def test_a_part_that_changed_in_the_store_is_noticed_on_the_way_out(tmp_path: Path) -> None:
    store = ObjectStore.from_url(f"file://{tmp_path / 'objects'}")
    await store.put("registry/uploads/u/a.json/0-x", b"changed")
    listing = {"files": [{"path": "a.json", "parts": [["registry/uploads/u/a.json/0-x", digest_of(b"sent")]]}]}
    await store.put("registry/uploads/u/listing.json", json.dumps(listing).encode())
    with pytest.raises(BadInput, match="damaged"):
        await arrived.assemble(store, "gyre://registry/uploads/u", tmp_path / "model")
