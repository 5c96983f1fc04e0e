"""Our PPO step by step: the same samples, losses and weights as TRL 1.12's trainer, and what happens at the edges."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from gyre_trainers import base, lora, ppo, sampling, testing
from gyre_trainers.exits import BadInput
from gyre_trainers.health import watched
from gyre_trainers.ppo_models import Models
from gyre_trainers.settings import Hyperparameters
from gyre_trainers.tests import trl_ppo
from peft import get_peft_model
from torch import Tensor
from transformers import AutoModelForSequenceClassification, GenerationConfig

QUESTIONS = ["the bus is late", "no water", "who is there", "a", "the bridge at Mill Road is closed again", "why"]
SEED = 7


@dataclass(frozen=True)
class Tiny:
    folder: Path
    scorer: Path
    tokenizer: Any

    def prompts(self) -> list[list[int]]:
        """Of different lengths, so that there is padding."""
        return [self.tokenizer(f"{question}?")["input_ids"] for question in QUESTIONS * 2]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """A policy that ends an answer after some seven tokens, and a reward model with opinions."""
    folder = testing.tiny_llama(tmp_path_factory.mktemp("tiny"), QUESTIONS * 20, vocabulary=300)
    tokenizer, model = base.load_tokenizer(folder), base.load_causal_lm(folder)
    weight = model.get_input_embeddings().weight.data
    weight[:, 0] += 1  # in every state, so that what the eos token has more of there is its bias
    weight[tokenizer.eos_token_id, 0] += 0.4
    weight[tokenizer.pad_token_id, 0] -= 2  # never drawn: TRL would take it for the end
    model.save_pretrained(folder)
    scorer = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, dtype=torch.float32)
    torch.manual_seed(SEED)
    torch.nn.init.normal_(scorer.score.weight, std=0.3)
    saved = tmp_path_factory.mktemp("scorer")
    scorer.save_pretrained(saved)
    tokenizer.save_pretrained(saved)
    return Tiny(folder, saved, tokenizer)


def hyperparameters(**changes: Any) -> Hyperparameters:
    settings = {"max_grad_norm": 1e9, "temperature": 1.0, **changes.pop("own", {})}
    common = {
        "batch_size": 6,
        "max_new_tokens": 12,
        "beta": 0.1,
        "learning_rate": 1e-3,
        "lora_rank": 0,
        "warmup_ratio": 0,
    }
    return Hyperparameters.model_validate({**common, **changes, "own": settings})


def loaded(tiny: Tiny) -> tuple[Any, Any]:
    """A policy and a scorer. In f64, where a difference is one of method: in f32 Adam makes much of rounding."""
    return base.load_causal_lm(tiny.folder).double(), base.load_scorer(tiny.scorer).double()


def models_of(tiny: Tiny, wanted: Hyperparameters) -> Models:
    policy, value = loaded(tiny)
    if wanted.lora_rank == 0:
        return Models(policy, value, *loaded(tiny))
    torch.manual_seed(SEED)
    adapters = lora.adapter_config(wanted), lora.adapter_config(wanted, scorer=True)
    adapted = get_peft_model(policy, adapters[0]), get_peft_model(value, adapters[1])
    return Models(*(model.double() for model in adapted))


def learner_of(tiny: Tiny, wanted: Hyperparameters, steps: int = 5) -> ppo.Learner:
    return ppo.Learner(models_of(tiny, wanted), wanted, steps, tiny.tokenizer)


def collected(learner: ppo.Learner, tiny: Tiny, step: int = 0) -> ppo.Rollout:
    torch.manual_seed(ppo.seed_of(SEED, step))
    return learner.collect(ppo.batch_of(tiny.prompts(), step, learner.wanted.step_rows, SEED))


def flat(models: list[Any]) -> Tensor:
    return torch.cat([weight.detach().flatten() for model in models for weight in model.parameters()])


# Against TRL

SAME = [
    "objective/kl",
    "objective/entropy",
    "objective/non_score_reward",
    "objective/rlhf_reward",
    "objective/scores",
    "loss/policy_avg",
    "loss/value_avg",
    "policy/clipfrac_avg",
    "val/clipfrac_avg",
]
CASES: dict[str, dict[str, Any]] = {
    "all weights": {},
    "adapters": {"lora_rank": 4},
    "k3, whitened rewards, discounts": {
        "batch_size": 8,
        "own": {"kl_estimator": "k3", "whiten_rewards": True, "gamma": 0.9, "lam": 0.8, "temperature": 0.9},
    },
}


@pytest.mark.parametrize("case", CASES)
def test_steps_are_those_of_trl_with_the_same_seed(
    case: str, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, wanted = 3, hyperparameters(**CASES[case])
    begun, (reference, scorer) = models_of(tiny, wanted), loaded(tiny)
    theirs = {
        "model": copy.deepcopy(begun.policy),
        "value_model": copy.deepcopy(begun.value),
        "ref_model": None if wanted.lora_rank else reference,
        "reward_model": scorer,
    }
    trained = [theirs["model"], theirs["value_model"]]
    if wanted.lora_rank:
        theirs["value_model"] = theirs["value_model"].get_base_model()  # TRL looks for the backbone inside
    trl_ppo.shuffle_as_ours(monkeypatch)
    trl_ppo.collect_no_garbage(monkeypatch)
    advantages = trl_ppo.advantages_seen(monkeypatch)
    trainer = trl_ppo.trainer(theirs, copy.deepcopy(tiny.tokenizer), tiny.prompts(), wanted, steps, tmp_path)
    trainer.train()

    learner = learner_of(tiny, wanted, steps)
    for step in range(steps):
        rollout = collected(learner, tiny, step)
        metrics = learner.learn(rollout)
        expected = trainer.state.log_history[step]
        assert 0 < metrics["answers/eos_share"] < 1  # some answers end early, some do not
        assert {name: metrics[name] for name in SAME} == pytest.approx(
            {name: expected[name] for name in SAME}, rel=1e-5, abs=1e-5
        )
        torch.testing.assert_close(rollout.advantages, advantages[step], rtol=1e-4, atol=1e-4, check_dtype=False)

    start, ours = flat([begun.policy, begun.value]), flat([learner.models.policy, learner.models.value])
    moved = (flat(trained) - start).norm()
    assert moved > 0.1
    assert (ours - flat(trained)).norm() < 1e-3 * moved


# One step of ours


def test_before_the_first_update_policy_and_reference_are_the_same(tiny: Tiny) -> None:
    learner = learner_of(tiny, hyperparameters(lora_rank=4))

    metrics = learner.learn(collected(learner, tiny))

    assert metrics["objective/kl"] == pytest.approx(0, abs=1e-5)
    assert metrics["objective/rlhf_reward"] == pytest.approx(metrics["objective/scores"], abs=1e-5)


@pytest.mark.parametrize("rank", [0, 4])
def test_training_moves_neither_the_reference_nor_the_reward_model(rank: int, tiny: Tiny) -> None:
    learner = learner_of(tiny, hyperparameters(lora_rank=rank, learning_rate=1e-2))
    rollout = collected(learner, tiny)
    width, lengths = rollout.answered.shape[1], rollout.answered.sum(dim=1)

    def frozen() -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            return (
                learner.models.reference_logits(rollout.ids, rollout.attended, width, 1.0),
                learner.models.scores(rollout.ids, rollout.attended, lengths, width),
            )

    before, values = frozen(), learner.models.values(rollout.ids, rollout.attended, width)
    learner.learn(rollout)

    assert all(map(torch.equal, before, frozen()))
    assert not torch.allclose(values, learner.models.values(rollout.ids, rollout.attended, width))


def test_a_batch_learned_from_in_parts_gives_the_weights_of_the_whole(tiny: Tiny) -> None:
    whole = learner_of(tiny, hyperparameters(batch_size=6))
    parts = learner_of(tiny, hyperparameters(batch_size=2, gradient_accumulation_steps=3))
    for learner in (whole, parts):
        learner.learn(collected(learner, tiny))

    start = flat([loaded(tiny)[0]])
    moved = (flat([whole.models.policy]) - start).norm()
    assert (flat([whole.models.policy]) - flat([parts.models.policy])).norm() < 0.01 * moved


def test_each_minibatch_is_a_step_of_the_optimizer(tiny: Tiny) -> None:
    learner = learner_of(tiny, hyperparameters(own={"num_mini_batches": 3, "num_ppo_epochs": 2}))

    learner.learn(collected(learner, tiny))

    assert {int(state["step"]) for state in learner.optimizer.state.values()} == {6}


def test_an_answer_without_end_loses_the_penalty(tiny: Tiny) -> None:
    mild, strict = (learner_of(tiny, hyperparameters(own={"missing_eos_penalty": taken})) for taken in (0.0, 8.0))

    left, right = collected(mild, tiny), collected(strict, tiny)

    endless = 1 - left.metrics["answers/eos_share"]
    assert 0 < endless < 1
    assert left.metrics["objective/scores"] - right.metrics["objective/scores"] == pytest.approx(8 * endless, rel=1e-4)


def test_the_kl_coefficient_grows_while_kl_is_above_its_target(tiny: Tiny) -> None:
    settings = {"kl_target": 1e-6, "kl_horizon": 60, "kl_estimator": "k3"}
    learner = learner_of(tiny, hyperparameters(own=settings, learning_rate=1e-2))
    learner.learn(collected(learner, tiny))

    learner.learn(collected(learner, tiny, 1))

    assert learner.kl_coefficient == pytest.approx(0.1 * (1 - 0.2 / 10) * (1 + 0.2 / 10))


def test_a_loss_that_is_no_number_ends_the_run_and_names_the_learning_rate(tiny: Tiny) -> None:
    learner = learner_of(tiny, hyperparameters())
    rollout = collected(learner, tiny)
    rollout.returns.fill_(float("nan"))

    with pytest.raises(BadInput, match=r"^hyperparameters.learning_rate: "):
        learner.learn(rollout)


def test_a_reward_model_with_another_tokenizer_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    base.refuse_another_tokenizer(tiny.scorer, tiny.tokenizer)
    testing.byte_level_tokenizer(["something else altogether"] * 9, 300).save_pretrained(tmp_path)

    with pytest.raises(BadInput, match=r"^reward_model.uri: the reward model has another tokenizer"):
        base.refuse_another_tokenizer(tmp_path, tiny.tokenizer)


# Data and sampling


def test_all_that_health_watches_for_is_reported(tiny: Tiny) -> None:
    learner = learner_of(tiny, hyperparameters())
    metrics = learner.learn(collected(learner, tiny))
    assert set(watched(metrics)) == {"kl", "entropy", "reward", "length", "repetition", "grad_norm"}


def test_repetition_is_the_share_of_three_tokens_in_a_row_that_came_before() -> None:
    answers = torch.tensor([[1, 2, 3, 1, 2, 3, 9, 9], [1, 2, 3, 4, 5, 6, 7, 8], [5, 5, 5, 5, 5, 5, 5, 5]])
    assert sampling.repetition(answers, torch.tensor([6, 8, 2])) == pytest.approx((1 / 4 + 0 + 0) / 3)


def test_each_pass_asks_every_prompt_once_in_an_order_of_its_own() -> None:
    prompts = [[at] for at in range(12)]

    passes = [
        [prompt for step in range(3) for prompt in ppo.batch_of(prompts, 3 * number + step, 4, SEED)]
        for number in range(2)
    ]

    assert all(sorted(one) == prompts for one in passes)
    assert passes[0] != passes[1]


def test_padding_on_the_left_changes_no_answer(tiny: Tiny) -> None:
    """At next to no temperature the draw is the likeliest token, alone or beside longer prompts, as `generate` has it."""
    model, eos, pad = base.load_causal_lm(tiny.folder), tiny.tokenizer.eos_token_id, tiny.tokenizer.pad_token_id
    greedy = {"new_tokens": 10, "temperature": 1e-4, "eos": eos, "pad": pad}

    together = sampling.sample(model, *sampling.left_padded(tiny.prompts(), pad), **greedy)

    config = GenerationConfig(max_new_tokens=10, do_sample=False, eos_token_id=eos, pad_token_id=pad)
    for row, prompt in enumerate(tiny.prompts()):
        alone = model.generate(torch.tensor([prompt]), generation_config=config)[0, len(prompt) :]
        length = int(sampling.answered(together, eos)[row].sum())
        assert together[row, :length].tolist() == alone.tolist()[:length]
        assert length == len(alone)


def test_an_answer_counts_up_to_its_first_eos_even_where_that_is_the_pad_token() -> None:
    answers = torch.tensor([[5, 2, 2, 2], [5, 6, 7, 2], [5, 6, 7, 8], [2, 2, 2, 2]])

    assert sampling.answered(answers, 2).sum(dim=1).tolist() == [2, 4, 4, 1]
