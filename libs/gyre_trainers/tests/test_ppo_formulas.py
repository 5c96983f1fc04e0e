"""The formulas of PPO against values worked out by hand from the papers."""

from __future__ import annotations

import math

import pytest
import torch
from gyre_trainers import ppo_formulas as formulas
from torch import Tensor, tensor

EVERY = tensor([[True, True, True]])


def close(found: Tensor, expected: list[list[float]]) -> None:
    torch.testing.assert_close(found, tensor(expected, dtype=found.dtype), rtol=1e-5, atol=1e-6)


def test_advantages_are_discounted_sums_of_surprises() -> None:
    """Schulman 2016, eq. 16. δ = (0 + 0.5·2 - 1, 0 + 0.5·3 - 2, 1 - 3) = (0, -0.5, -2); γλ = 0.25."""
    found = formulas.advantages_of(tensor([[0.0, 0.0, 1.0]]), tensor([[1.0, 2.0, 3.0]]), gamma=0.5, lam=0.5)

    close(found, [[0.25 * (-0.5 + 0.25 * -2), -0.5 + 0.25 * -2, -2]])


def test_with_lambda_one_the_return_is_the_sum_of_the_rewards() -> None:
    rewards, values = tensor([[1.0, 2.0, 4.0]]), tensor([[0.3, -0.7, 9.0]])

    close(formulas.advantages_of(rewards, values, gamma=1.0, lam=1.0) + values, [[7.0, 6.0, 4.0]])


def test_with_lambda_zero_only_the_next_value_is_trusted() -> None:
    found = formulas.advantages_of(tensor([[1.0, 2.0, 4.0]]), tensor([[3.0, 5.0, 7.0]]), gamma=1.0, lam=0.0)

    close(found, [[1 + 5 - 3, 2 + 7 - 5, 4 - 7]])


def test_whitening_leaves_mean_zero_and_unbiased_variance_one_of_what_counts() -> None:
    """(1, 3, 5): mean 3, variance (4 + 0 + 4) / 2 = 4."""
    values, mask = tensor([[1.0, 3.0], [5.0, 100.0]]), tensor([[True, True], [True, False]])

    close(formulas.whiten(values, mask), [[-1, 0], [1, 0]])
    close(formulas.whiten(values, mask, shift_mean=False), [[2, 3], [4, 0]])


def test_a_single_value_is_whitened_to_its_mean_and_not_to_nan() -> None:
    close(formulas.whiten(tensor([[2.0, 9.0]]), tensor([[True, False]])), [[0, 0]])


def test_both_estimators_of_kl() -> None:
    """r = π_ref/π = ½: k1 = log 2, k3 = (½ - 1) + log 2; what does not count is 0."""
    policy, reference = torch.log(tensor([[0.8, 0.8]])), torch.log(tensor([[0.4, 0.4]]))
    mask = tensor([[True, False]])

    close(formulas.kl_divergence(policy, reference, mask, "k1"), [[math.log(2), 0]])
    close(formulas.kl_divergence(policy, reference, mask, "k3"), [[math.log(2) - 0.5, 0]])


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_an_estimator_has_the_true_divergence_as_its_mean(estimator: str) -> None:
    """Weighted by the policy's own probabilities: Schulman 2020, both are unbiased."""
    policy, reference = tensor([[0.5, 0.3, 0.2]]), tensor([[0.2, 0.2, 0.6]])
    true = sum(p * math.log(p / q) for p, q in zip(policy[0].tolist(), reference[0].tolist(), strict=True))

    found = formulas.kl_divergence(policy.log(), reference.log(), EVERY, estimator)  # type: ignore[arg-type]

    assert float((policy * found).sum()) == pytest.approx(true, rel=1e-5)


def test_the_score_comes_behind_the_last_token_and_the_kl_at_each() -> None:
    """One answer of 1 token, one that fills the row; β = 0.5."""
    kl = tensor([[2.0, 0.0, 0.0], [2.0, 4.0, 6.0]])

    found = formulas.shaped_rewards(tensor([10.0, 20.0]), kl, 0.5, tensor([1, 3]))

    close(found, [[-1, 10, 0], [-1, -2, 20 - 3]])


def test_the_policy_gains_nothing_from_going_further_than_the_clip() -> None:
    """Schulman 2017, eq. 7, figure 1: ratio 1.5 and 0.5 with A = 1 and A = -1, ε = 0.2."""
    ratios, advantages = tensor([[1.5, 1.5, 0.5, 0.5]]), tensor([[1.0, -1.0, 1.0, -1.0]])

    losses, clipped = formulas.policy_losses(ratios.log(), torch.zeros(1, 4), advantages, 0.2)

    close(losses, [[-1.2, 1.5, -0.5, 0.8]])
    assert clipped.tolist() == [[True, False, False, True]]


def test_beyond_the_clip_the_policy_has_no_gradient() -> None:
    new = torch.log(tensor([[1.5, 1.1]])).requires_grad_()

    formulas.policy_losses(new, torch.zeros(1, 2), torch.ones(1, 2), 0.2)[0].sum().backward()

    assert new.grad is not None
    close(new.grad, [[0, -1.1]])


def test_a_value_that_moved_further_than_the_clip_is_measured_from_the_clip_if_that_is_worse() -> None:
    """Old 0, ε = 0.2. New 1 with return 2: (1-2)² < (0.2-2)² → ½·3.24. New 1 with return -1: 4 > 1.44 → ½·4."""
    losses, clipped = formulas.value_losses(tensor([[1.0, 1.0]]), torch.zeros(1, 2), tensor([[2.0, -1.0]]), 0.2)

    close(losses, [[1.62, 2.0]])
    assert clipped.tolist() == [[True, False]]


def test_explained_variance() -> None:
    returns = tensor([[1.0, 2.0, 3.0]])

    assert float(formulas.explained_variance(returns, returns, EVERY)) == pytest.approx(1)
    assert float(formulas.explained_variance(tensor([[2.0, 2.0, 2.0]]), returns, EVERY)) == pytest.approx(0)
    assert float(formulas.explained_variance(-returns, returns, EVERY)) == pytest.approx(1 - 4)
    assert float(formulas.explained_variance(returns, torch.ones(1, 3), EVERY)) == 0


def test_log_probabilities_and_entropy_of_a_known_distribution() -> None:
    logits = torch.log(tensor([[[0.5, 0.25, 0.25]]])) + 3

    close(formulas.log_probabilities(logits, tensor([[1]])), [[math.log(0.25)]])
    close(formulas.entropies(logits), [[1.5 * math.log(2)]])


@pytest.mark.parametrize(("kl", "expected"), [(6.0, 0.1), (6.6, 0.101), (60.0, 0.102), (0.0, 0.098)])
def test_the_coefficient_goes_after_its_target_by_at_most_a_fifth_of_the_batchs_share(
    kl: float, expected: float
) -> None:
    """Ziegler 2019, 2.2: 100 answers of a horizon of 1000."""
    assert formulas.adapted_coefficient(0.1, kl, 6.0, 100, 1000) == pytest.approx(expected)
