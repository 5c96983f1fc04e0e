"""Heavy work of the registry, launched as a job: `python -m services.model_registry.work SPEC`.

SPEC is {"task": "import", "source", "revision"}, {"task": "import_adapter", "source", "manifest", "digest"}, {"task":
"adapter", "manifest", "digest"}, with {"adapter", "adapter_digest"} where it was imported, {"task": "quantise",
"manifest", "digest", "quantisation"} or the same with {"task": "compress", "python"}; the last two with {"calibration",
"calibration_digest"} where conversations are to be measured on. `manifest` is of a version. The launcher adds
`object_store`. The result goes to result.json beside the spec, last.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from gyre_kit.storage import ObjectStore, key_of
from gyre_trainers import base, bundled, compress, exits, hub, imatrix
from gyre_trainers.compress import CompressorMissing
from gyre_trainers.convert import to_gguf
from gyre_trainers.convert_lora import lora_to_gguf
from gyre_trainers.data import Row
from gyre_trainers.exits import BadInput
from gyre_trainers.quantize import quantise
from gyre_trainers.spec import Artifact

from services.model_registry import arrived, card, files, intake
from services.model_registry.files import KEPT, UNSAFE

log = logging.getLogger("model_registry.work")
LARGEST_ARCHIVE = 200 * 1024**3


def main(argv: list[str]) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    spec_file = Path(argv[1])
    try:
        spec = json.loads(spec_file.read_text())
        store = ObjectStore.from_url(spec["object_store"])
        task = TASKS[spec["task"]]
    except (OSError, ValueError, KeyError) as error:
        print(f"error: the spec cannot be used: {error!r}", file=sys.stderr)
        return exits.BAD_INPUT
    try:
        with tempfile.TemporaryDirectory(prefix="gyre-registry-") as scratch:
            result = asyncio.run(task(store, spec, Path(scratch)))
    except BadInput as error:
        reason = "LLMCOMPRESSOR_MISSING" if isinstance(error, CompressorMissing) else "BAD_SOURCE"
        write_result(spec_file, {"error": {"reason": reason, "message": str(error)}})
        print(f"error: {error}", file=sys.stderr)
        return exits.BAD_INPUT
    write_result(spec_file, result)
    return exits.DONE


async def import_weights(store: ObjectStore, spec: dict[str, Any], scratch: Path) -> dict[str, Any]:
    """A folder of safetensors or one GGUF from wherever it is, checked, stored by content. Raises: BadInput."""
    source = str(spec["source"])
    folder = await _obtain(store, source, str(spec.get("revision", "")), scratch)
    gguf = next(folder.glob("*.gguf"), None)
    about = arrived.about_gguf(gguf) if gguf else _about_folder(folder)
    paths = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in (*KEPT, ".gguf"))
    stored = {path.name: await intake.put_blob(store, path) for path in paths}
    is_sent = source.startswith("gyre://")  # where it lay in the store says nothing of the weights
    facts = about if is_sent else {**about, "source": source}
    manifest = await intake.write_manifest(store, [{"path": name, **blob} for name, blob in stored.items()], facts)
    readme = card.readme_of(folder)
    known = {"origin": "" if is_sent else source, "licence": card.licence_of(readme)}
    if source == bundled.URI:
        known = {"origin": bundled.ORIGIN, "licence": bundled.LICENCE}
    if gguf:
        blob = stored[gguf.name]
        known |= {"gguf_sha256": blob["sha256"], "gguf_bytes": blob["size"], "quantisation": about["quantisation"]}
    return {
        "uri": manifest.uri,
        "digest": manifest.digest,
        "size_bytes": manifest.size_bytes,
        "architecture": facts["architecture"],
        "parameter_count": facts["parameters"],
        "card": readme,
        **known,
    }


async def import_adapter(store: ObjectStore, spec: dict[str, Any], scratch: Path) -> dict[str, Any]:
    """A LoRA of an upload or a hub, checked against the version that it is for, stored by content. Raises: BadInput."""
    source = str(spec["source"])
    if source.startswith(files.UPLOADS):
        folder = await arrived.assemble(store, source, scratch / "adapter")
    else:
        folder = hub.download(source, scratch / "adapter", hub.ADAPTER)
    facts = arrived.about_adapter(folder)
    version = Artifact(uri=spec["manifest"], digest=spec["digest"])
    arrived.check_fits(folder, await base.obtain(store, version, scratch / "hf", "manifest"))
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    stored = [{"path": path.name, **await intake.put_blob(store, path)} for path in paths]
    manifest = await intake.write_manifest(store, stored, facts)
    kinds = sorted({module.rpartition(".")[2] for module in facts["target_modules"]})
    note = f"LoRA of rank {facts['rank']} on {', '.join(kinds)}"
    return {"uri": manifest.uri, "digest": manifest.digest, "size_bytes": manifest.size_bytes, "note": note[:300]}


async def make_variant(store: ObjectStore, spec: dict[str, Any], scratch: Path) -> dict[str, Any]:
    """One GGUF file of a version. Raises: BadInput for an architecture that llama.cpp does not know."""
    artifact = Artifact(uri=spec["manifest"], digest=spec["digest"])
    folder = await base.obtain(store, artifact, scratch / "hf", "manifest")
    full = scratch / "full.gguf"
    to_gguf(folder, full, "f16" if spec["quantisation"] == "F16" else "bf16")
    note = ""
    made = full
    if spec["quantisation"] != "F16":
        quantised = quantise(full, scratch / "quantised.gguf", spec["quantisation"])
        made, note = quantised.path, quantised.note
        if spec.get("calibration"):
            note = "; ".join(filter(None, [note, await _calibrate(store, spec, folder, full, made)]))
    stored = await intake.put_blob(store, made)
    return {
        "uri": intake.blob_uri(stored["sha256"]),
        "digest": f"sha256:{stored['sha256']}",
        "size_bytes": stored["size"],
        "note": note,
    }


async def make_compressed(store: ObjectStore, spec: dict[str, Any], scratch: Path) -> dict[str, Any]:
    """A folder of a version's weights for vLLM. Raises: BadInput, CompressorMissing among them."""
    artifact = Artifact(uri=spec["manifest"], digest=spec["digest"])
    folder = await base.obtain(store, artifact, scratch / "hf", "manifest")
    rows = await _calibration_rows(store, spec, scratch, compress.ROWS) if spec.get("calibration") else []
    made = scratch / "compressed"
    note = compress.compress(folder, made, spec["quantisation"], rows, spec.get("python", ""))
    paths = sorted(path for path in made.iterdir() if path.suffix in KEPT)
    stored = [{"path": path.name, **await intake.put_blob(store, path)} for path in paths]
    facts = {"architecture": base.check_folder(made)["architectures"][0], "quantisation": spec["quantisation"]}
    manifest = await intake.write_manifest(store, stored, facts)
    return {"uri": manifest.uri, "digest": manifest.digest, "size_bytes": manifest.size_bytes, "note": note}


async def make_adapter(store: ObjectStore, spec: dict[str, Any], scratch: Path) -> dict[str, Any]:
    """One GGUF file of what a run added to its base, or of an adapter that was imported for this version.

    Raises: BadInput where there is none, or llama.cpp cannot add it.
    """
    artifact = Artifact(uri=spec["manifest"], digest=spec["digest"])
    folder = await base.obtain(store, artifact, scratch / "hf", "manifest")
    adapter = folder / "adapter"
    if spec.get("adapter"):
        sent = Artifact(uri=spec["adapter"], digest=spec["adapter_digest"])
        adapter = await base.put_together(store, sent, scratch / "sent", "adapter")
    elif not (adapter / "adapter_config.json").is_file():
        remedy = "serve the version itself, or train it with a rank above 0"
        raise BadInput("manifest", "all weights of this version were trained, so it has no adapter", remedy)
    made = scratch / "adapter.gguf"
    lora_to_gguf(adapter, folder, made)
    stored = await intake.put_blob(store, made)
    uri, digest = intake.blob_uri(stored["sha256"]), f"sha256:{stored['sha256']}"
    return {"uri": uri, "digest": digest, "size_bytes": stored["size"], "note": ""}


async def _calibrate(store: ObjectStore, spec: dict[str, Any], folder: Path, full: Path, made: Path) -> str:
    """Weighs the rounding of `made` in place and says so in a sentence. Raises: BadInput."""
    rows = await _calibration_rows(store, spec, full.parent, imatrix.ROWS)
    log.info("measuring an importance matrix on %d rows", len(rows))
    weighed = imatrix.requantise(full, made, imatrix.measure(folder, rows))
    return f"{weighed} matrices weighed by an importance matrix of {len(rows)} rows"


async def _calibration_rows(store: ObjectStore, spec: dict[str, Any], scratch: Path, most: int) -> list[Row]:
    """Raises: BadInput."""
    try:
        path = await store.fetch(key_of(spec["calibration"]), scratch)
    except FileNotFoundError as error:
        raise BadInput("calibration", "the rows are not there", "pick a data set version that is ready") from error
    return imatrix.drawn_rows(path, spec.get("calibration_digest", ""), most)


def _about_folder(folder: Path) -> dict[str, Any]:
    """Raises: BadInput."""
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        remedy = "import it with its base: gyre models import FOLDER --base MODEL@VERSION"
        raise BadInput("source", "this is a LoRA adapter and no model", remedy)
    config = base.check_folder(folder, "source")
    _check_architecture(config)
    return {"architecture": config["architectures"][0], "parameters": count_parameters(folder)}


async def _obtain(store: ObjectStore, source: str, revision: str, scratch: Path) -> Path:
    target = scratch / "model"
    if source.startswith(files.UPLOADS):
        return await arrived.assemble(store, source, target)
    if source == bundled.URI:
        return bundled.smollm2(target)
    if source.startswith(("hf://", "ms://")):
        return hub.download(f"{source}@{revision}" if revision else source, target)
    try:
        archive = await store.fetch(key_of(source), scratch)
    except FileNotFoundError as error:
        raise BadInput("source", f"{source} is not there", "upload the archive again") from error
    return unpack(archive, target)


def unpack(archive: Path, target: Path) -> Path:
    """A zip or tar of a model folder; only plain files whose names stay inside. Raises: BadInput."""
    target.mkdir(parents=True)
    remedy = "upload a zip or tar of config.json, tokenizer files and *.safetensors"
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            members = [(info.filename, info.file_size, info.is_dir()) for info in opened.infolist()]
            _check_members(members, remedy)
            for name, _, is_folder in members:
                if not is_folder:
                    (target / Path(name).name).write_bytes(opened.read(name))
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as opened_tar:
            plain = [member for member in opened_tar.getmembers() if member.isfile()]
            _check_members([(member.name, member.size, False) for member in plain], remedy)
            for member in plain:
                if (content := opened_tar.extractfile(member)) is not None:
                    (target / Path(member.name).name).write_bytes(content.read())
    else:
        raise BadInput("source", "the file is no zip and no tar", remedy)
    return target


def _check_members(members: list[tuple[str, int, bool]], remedy: str) -> None:
    if sum(size for _, size, _ in members) > LARGEST_ARCHIVE:
        raise BadInput("source", "the archive unpacks to over 200 GiB", remedy)
    for name, _, _ in members:
        if name.startswith("/") or ".." in Path(name).parts:
            raise BadInput("source", f"{name} leads out of the archive", remedy)
        if name.lower().endswith(UNSAFE):
            raise BadInput("source", f"{name} may run code when it is loaded", f"remove it; {remedy}")


def _check_architecture(config: dict[str, Any]) -> None:
    name = str(config["architectures"][0])
    if not name.endswith(("ForCausalLM", "ForSequenceClassification")):
        raise BadInput("source", f"{name} is no language model", "import a …ForCausalLM or a reward model")


def count_parameters(folder: Path) -> int:
    """From the headers of the safetensors files. Raises: BadInput for one that is damaged."""
    try:
        tensors = [tensor for path in folder.glob("*.safetensors") for tensor in files.tensors_of(path).values()]
    except files.NotSafetensors as error:
        raise BadInput("source", error.message, "send it again from a good copy") from error
    return sum(math.prod(tensor["shape"]) for tensor in tensors)


def write_result(spec_file: Path, result: dict[str, Any]) -> None:
    partial = spec_file.with_name(".result.json")
    partial.write_text(json.dumps(result))
    os.replace(partial, spec_file.with_name("result.json"))


TASKS = {
    "import": import_weights,
    "import_adapter": import_adapter,
    "adapter": make_adapter,
    "quantise": make_variant,
    "compress": make_compressed,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv))
