"""A tiny random Llama with a tokenizer of its own: what tests train in seconds and engines can serve."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from gyre_kit.storage import ObjectStore, digest_of_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from gyre_trainers.templates import CHATML

SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
BYTES = 256


def tiny_llama(folder: Path, texts: Iterable[str], *, vocabulary: int = 1024, hidden: int = 64, seed: int = 7) -> Path:
    """Writes a random two-layer Llama (`hidden` wide, about 0.2 M parameters) and a tokenizer trained on `texts`.

    The tokenizer splits as SmolLM2's does, so that converters to GGUF know its pre-tokenizer by name. 64 or 256 are
    sensible widths: only multiples of 256 can hold llama.cpp's K-quants.
    """
    tokenizer = byte_level_tokenizer(texts, vocabulary)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_lora(folder: Path, model: Path, *, seed: int, merged: Path | None = None, **config: Any) -> Path:
    """Writes a random LoRA adapter of the Llama in `model`, as PEFT saves one, strong enough to change every answer;
    with it added into the weights also to `merged`, in f32. `config` is for PEFT's LoraConfig.
    """
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    llama = LlamaForCausalLM.from_pretrained(model, dtype=torch.float32)
    wanted = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"} | config
    adapted = get_peft_model(llama, LoraConfig(task_type="CAUSAL_LM", **wanted))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.5)
    adapted.save_pretrained(folder)
    if merged is not None:
        adapted.merge_and_unload().save_pretrained(merged)
        PreTrainedTokenizerFast.from_pretrained(model).save_pretrained(merged)
    return folder


async def stored(store: ObjectStore, folder: Path) -> str:
    """Puts the files of a folder away as the registry keeps a version's, and returns the URI of their manifest."""
    files = []
    for path in sorted(folder.iterdir()):
        digest = digest_of_file(path).removeprefix("sha256:")
        await store.put_file(f"registry/blobs/sha256/{digest}", path)
        files.append({"path": path.name, "size": path.stat().st_size, "sha256": digest})
    return await store.put(f"registry/manifests/{folder.name}.json", json.dumps({"files": files}).encode())


def byte_level_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE of at most `vocabulary` tokens with ChatML's special tokens and template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=max(vocabulary, BYTES + len(SPECIAL_TOKENS)),
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        chat_template=CHATML,
    )


def texts_of(rows: Iterable[dict[str, object]]) -> list[str]:
    """Something to train a tokenizer on: the rows as they stand, without their escapes."""
    return [json.dumps(row, ensure_ascii=False) for row in rows]
