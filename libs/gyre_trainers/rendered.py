"""What a method makes of its rows, for people to look at: text with the loss mask, and how many tokens there are."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from statistics import quantiles
from typing import Any, Final

from gyre_trainers import base, cpt, data, dpo, fit, sampling, tokens
from gyre_trainers.methods import REINFORCED, Method, PPOSettings
from gyre_trainers.tree import IGNORED

SAMPLES: Final = 3
LOOKED_AT: Final = 2000  # rows whose tokens are counted
UNCUT: Final = 2**31
TALKS: Final = (Method.SFT, Method.CPT, *REINFORCED)
NEVER_CUT: Final = (Method.CPT, Method.GRPO)  # one cuts a stream of text, the other takes prompts as they are
Side = Mapping[str, list[int]]
Sample = dict[str, list[dict[str, Any]]]


def samples(job: fit.Job, tokenizer: Any) -> list[Sample]:
    """The first rows as they are trained on: for each side, pieces of text and whether loss is taken on them.

    PPO and GRPO learn from answers of their own: the base answers the first prompts as it stands. Raises: BadInput.
    """
    first = sequences(job, tokenizer, job.hyperparameters.max_length)[:SAMPLES]
    if job.spec.method in REINFORCED:
        first = answered(job, tokenizer, [sides["text"]["input_ids"] for sides in first])
    return [{name: pieces(side, tokenizer) for name, side in sides.items()} for sides in first]


def token_counts(job: fit.Job, tokenizer: Any) -> dict[str, Any]:
    """Tokens of the sequences before they are cut: of an answer with its prompt, or of a prompt that is to be answered."""
    longest = job.hyperparameters.max_length
    whole = sequences(job, tokenizer, longest if job.spec.method is Method.CPT else UNCUT)
    lengths = [len(side["input_ids"]) for sides in whole for side in sides.values()]
    at = quantiles(lengths, n=20, method="inclusive") if len(lengths) > 1 else lengths * 19
    cut = 0 if job.spec.method in NEVER_CUT else sum(length > longest for length in lengths)
    return {
        "sequences": len(lengths),
        "p50": at[9],
        "p95": at[18],
        "max": max(lengths),
        "cut_share": cut / len(lengths),
    }


def sequences(job: fit.Job, tokenizer: Any, length: int) -> list[dict[str, Side]]:
    """Ids and labels by side, of the first rows, cut to `length`. Raises: BadInput."""
    method = job.spec.method
    rows = job.rows(*(["messages"] if method in TALKS else data.PREFERENCE))[:LOOKED_AT]
    if method not in TALKS:
        return [
            {side: learned_from(method, side, pair[side]) for side in dpo.SIDES}
            for pair in dpo.pairs(rows, tokenizer, length)
        ]
    if method in REINFORCED:
        asked = data.prompts(rows)["prompt"]
        cut = UNCUT if method in NEVER_CUT else length
        return [{"text": unlearned(tokens.template_ids(tokenizer, prompt, ask=True)[-cut:])} for prompt in asked]
    if method is Method.CPT:
        return [{"text": block} for block in cpt.blocks(rows, tokenizer, length)]
    only = job.hyperparameters.assistant_only_loss
    found = tokens.training_rows(rows, tokenizer, max_length=length, assistant_only=only)
    return [{"text": row} for row in found]


def learned_from(method: Method, side: str, sequence: Side) -> Side:
    """A reward model learns from its score at the last token; ORPO from the prompt before a chosen answer too, as TRL
    has it; the others from the answer."""
    ids = sequence["input_ids"]
    if method is Method.REWARD:
        return {"input_ids": ids, "labels": [IGNORED] * (len(ids) - 1) + ids[-1:]}
    if method is Method.ORPO and side == "chosen":
        return {"input_ids": ids, "labels": [IGNORED, *ids[1:]]}
    return sequence


def unlearned(ids: list[int]) -> Side:
    return {"input_ids": ids, "labels": [IGNORED] * len(ids)}


def answered(job: fit.Job, tokenizer: Any, prompts: list[list[int]]) -> list[dict[str, Side]]:
    """Each prompt with one answer of the base to it, drawn by the run's seed."""
    import torch

    model = base.load_causal_lm(job.base).to("cuda" if torch.cuda.is_available() else "cpu").eval()
    wanted, eos = job.hyperparameters, tokenizer.eos_token_id
    temperature = wanted.own_of(PPOSettings).temperature if job.spec.method is Method.PPO else 1.0
    torch.manual_seed(job.spec.seed)
    ids, attended = (it.to(model.device) for it in sampling.left_padded(prompts, tokenizer.pad_token_id))
    with torch.no_grad():
        drawn = sampling.sample(
            model,
            ids,
            attended,
            new_tokens=wanted.max_new_tokens,
            temperature=temperature,
            eos=eos,
            pad=tokenizer.pad_token_id,
        )
    found: list[dict[str, Side]] = []
    for prompt, row, kept in zip(prompts, drawn, sampling.answered(drawn, eos), strict=True):
        answer = row[kept].tolist()
        found.append({"text": {"input_ids": prompt + answer, "labels": [IGNORED] * len(prompt) + answer}})
    return found


def pieces(side: Side, tokenizer: Any) -> list[dict[str, Any]]:
    pairs = zip(side["input_ids"], side["labels"], strict=True)
    return [
        {"text": tokenizer.decode([token for token, _ in group]), "loss": has_loss}
        for has_loss, group in groupby(pairs, key=lambda pair: pair[1] != IGNORED)
    ]
