"""Gets the weights that a run starts from into a local folder, and loads them: safetensors only, no foreign code."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import Any, Final

from gyre_kit.storage import BadKey, ObjectStore, key_of

from gyre_trainers import bundled, hub, manifest
from gyre_trainers.data import with_chat_template
from gyre_trainers.exits import BadInput
from gyre_trainers.spec import Artifact

REMEDY: Final = "name a model version of the registry, or a Hugging Face folder with config.json and safetensors"
BLOBS: Final = "registry/blobs/sha256"  # where the registry keeps files by content; its manifests list them by path


async def obtain(store: ObjectStore, artifact: Artifact, folder: Path, field: str = "base") -> Path:
    """A local folder with config, tokenizer and safetensors of `artifact`; `folder` is used where one must be made.

    Raises: BadInput if it is not there, does not have the pinned digest, or is no model that we can load.
    """
    if artifact.uri == bundled.URI:
        found = bundled.smollm2(folder)
    elif artifact.uri.startswith(("hf://", "ms://")):
        found = hub.download(artifact.uri, folder)
    else:
        found = _model_folder(await put_together(store, artifact, folder, field))
    check_folder(found, field)
    return found


async def put_together(store: ObjectStore, artifact: Artifact, folder: Path, field: str) -> Path:
    """A local folder with the files of a manifest in the object store, whatever they are; `folder` where one must be made.

    Raises: BadInput if it is not there, or does not have the pinned digest.
    """
    try:
        key = key_of(artifact.uri)
    except BadKey as error:
        raise BadInput(f"{field}.uri", f"{artifact.uri} is no URI of a model", REMEDY) from error
    listing = key if key.endswith(".json") else f"{key}/{manifest.NAME}"
    try:
        content = await store.get(listing)
    except FileNotFoundError as error:
        if artifact.digest or listing == key:
            raise BadInput(f"{field}.uri", f"{listing} is not there", REMEDY) from error
        return await store.fetch_folder(key, folder)
    _check_digest(content, artifact, field)
    if listing != key and (local := store.local_path(key)) is not None:
        return local
    await _assemble(store, json.loads(content)["files"], listing.rpartition("/")[0], folder, field)
    return folder


def _check_digest(content: bytes, artifact: Artifact, field: str) -> None:
    import hashlib

    found = f"sha256:{hashlib.sha256(content).hexdigest()}"
    if artifact.digest and found != artifact.digest:
        raise BadInput(f"{field}.digest", f"the manifest has {found}", "create the run again; the stored model changed")


async def _assemble(store: ObjectStore, files: list[dict[str, Any]], prefix: str, folder: Path, field: str) -> None:
    """Puts the files of a manifest below `folder` by their paths: links where the store is a folder, else copies."""
    for entry in files:
        blob, sibling = f"{BLOBS}/{entry['sha256']}", f"{prefix}/{entry['path']}"
        key = blob if await store.exists(blob) else sibling
        target = folder / entry["path"]
        if folder.resolve() not in target.resolve().parents:
            raise BadInput(f"{field}.uri", f"its manifest names {entry['path']}", REMEDY)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            source = await store.fetch(key, folder / ".blobs")
        except FileNotFoundError as error:
            raise BadInput(f"{field}.uri", f"{entry['path']} is missing", "import the model again") from error
        target.unlink(missing_ok=True)
        os.symlink(source, target)


def _model_folder(folder: Path) -> Path:
    """A run's result has its merged model in `model/`."""
    return folder / "model" if (folder / "model" / "config.json").is_file() else folder


def check_folder(folder: Path, field: str = "base") -> dict[str, Any]:
    """Returns config.json. Raises: BadInput for a folder without safetensors, or one that asks for code of its own."""
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{field}.uri", f"config.json cannot be read ({error})", REMEDY) from error
    if not isinstance(config, dict) or not config.get("architectures"):
        raise BadInput(f"{field}.uri", "config.json names no architecture", REMEDY)
    if config.get("auto_map"):
        raise BadInput(f"{field}.uri", "the model asks for Python code of its own, which is never run", REMEDY)
    if not list(folder.glob("*.safetensors")):
        raise BadInput(f"{field}.uri", "no safetensors file in the folder", REMEDY)
    return config


def load_tokenizer(folder: Path, field: str = "base") -> Any:
    """Raises: BadInput if there is none."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(f"{field}.uri", f"the tokenizer cannot be loaded ({_first_line(error)})", REMEDY) from error
    return with_chat_template(tokenizer)


def refuse_another_tokenizer(reward_model: Path, tokenizer: Any) -> None:
    """The reward model reads the policy's own tokens. Raises: BadInput where they mean something else to it."""
    if load_tokenizer(reward_model, "reward_model").get_vocab() != tokenizer.get_vocab():
        remedy = "train one from this base, or from a base with the same tokenizer"
        raise BadInput("reward_model.uri", "the reward model has another tokenizer than the base", remedy)


def load_causal_lm(folder: Path, field: str = "base") -> Any:
    """The language model in `folder`. Raises: BadInput for another architecture or incomplete weights."""
    architecture = str(check_folder(folder, field)["architectures"][0])
    if not architecture.endswith("ForCausalLM"):
        raise BadInput(f"{field}.uri", f"{architecture} generates no text", "name a model of a …ForCausalLM class")
    from transformers import AutoModelForCausalLM

    return _load(AutoModelForCausalLM, folder, field, may_miss=())


def load_scorer(folder: Path, field: str = "reward_model", *, fresh: bool = False) -> Any:
    """A model with one output, the score of a row as its last token that is no padding sees it. `fresh` puts a new head
    on a language model; else the head must be there.

    Raises: BadInput.
    """
    from transformers import AutoModelForSequenceClassification

    may_miss = ("score.weight",) if fresh else ()
    model = _load(AutoModelForSequenceClassification, folder, field, may_miss=may_miss, num_labels=1)
    model.forward = partial(_score, model)
    return model


def _score(model: Any, input_ids: Any, attention_mask: Any, **inputs: Any) -> Any:
    """By the attention mask, whichever side is padded. Transformers goes by the padding token: where that is the eos
    token too, it reads a token before the end, and PPO, which reads the end itself, would meet another model.
    """
    import torch
    from transformers.modeling_outputs import SequenceClassifierOutputWithPast

    backbone = getattr(model, model.base_model_prefix)
    hidden = backbone(input_ids=input_ids, attention_mask=attention_mask, **inputs).last_hidden_state
    places = torch.arange(input_ids.shape[1], device=input_ids.device)
    last = (places * attention_mask).argmax(dim=1)
    return SequenceClassifierOutputWithPast(logits=model.score(hidden[torch.arange(len(last)), last]))


def _load(kind: Any, folder: Path, field: str, *, may_miss: tuple[str, ...], **config: Any) -> Any:
    from safetensors import SafetensorError

    try:
        model, report = kind.from_pretrained(
            folder,
            dtype=precision(),
            attn_implementation="sdpa",
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
            **config,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise BadInput(f"{field}.uri", f"the model cannot be loaded ({_first_line(error)})", REMEDY) from error
    missing = sorted(set(report["missing_keys"]) - set(may_miss))
    if missing:
        raise BadInput(f"{field}.uri", f"weights are missing, {missing[0]} first", "import the model again")
    return model


def precision() -> Any:
    """bf16 on a GPU; f32 on a CPU, where bf16 products were 6 to 18 times slower (fit.py)."""
    import torch

    return torch.bfloat16 if torch.cuda.is_available() else torch.float32


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
