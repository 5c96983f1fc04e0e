"""The formulas of proximal policy optimisation, each with its source: pure functions of tensors, rows × answer tokens.

`mask` is true where a token counts. Sources: Schulman 2016 (GAE, arXiv:1506.02438), Schulman 2017 (PPO,
arXiv:1707.06347), Ziegler 2019 (adaptive KL, arXiv:1909.08593), Stiennon 2020 (KL in the reward, arXiv:2009.01325),
Schulman 2020 (estimators of KL, joschu.net/blog/kl-approx.html), Huang 2024 (N+ details, arXiv:2403.17031).
"""

from __future__ import annotations

from typing import Final, Literal

import torch
from torch import Tensor

TINY: Final = 1e-8
LARGEST_CHANGE: Final = 0.2  # of the KL coefficient, in units of batch / horizon (Ziegler 2019, 2.2)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum() / mask.sum()


def masked_variance(values: Tensor, mask: Tensor) -> Tensor:
    """Unbiased; 0 where a single value counts."""
    deviations = (values - masked_mean(values, mask)) ** 2 * mask
    return deviations.sum() / (mask.sum() - 1).clamp(min=1)


def whiten(values: Tensor, mask: Tensor, *, shift_mean: bool = True) -> Tensor:
    """Variance 1, and mean 0 unless `shift_mean` is off (Huang 2024: advantages are shifted, rewards are not)."""
    mean = masked_mean(values, mask)
    whitened = (values - mean) * torch.rsqrt(masked_variance(values, mask) + TINY)
    return (whitened if shift_mean else whitened + mean) * mask


def log_probabilities(logits: Tensor, drawn: Tensor) -> Tensor:
    """Of each drawn token."""
    chosen = logits.gather(-1, drawn.unsqueeze(-1)).squeeze(-1)
    return chosen - logits.logsumexp(dim=-1)


def entropies(logits: Tensor) -> Tensor:
    """In nats, of the distribution that each token is drawn from."""
    return logits.logsumexp(dim=-1) - (logits.softmax(dim=-1) * logits).sum(dim=-1)


def kl_divergence(policy: Tensor, reference: Tensor, mask: Tensor, estimator: Literal["k1", "k3"]) -> Tensor:
    """Estimate of KL(policy ‖ reference) in nats from log-probabilities of tokens that the policy drew.

    k1 = log π/π_ref is unbiased but may be negative; k3 = (r - 1) - log r with r = π_ref/π is never (Schulman 2020).
    """
    log_ratio = (reference - policy) * mask
    return -log_ratio if estimator == "k1" else torch.expm1(log_ratio) - log_ratio


def shaped_rewards(scores: Tensor, kl: Tensor, coefficient: float, lengths: Tensor) -> Tensor:
    """-β · KL at each token (Stiennon 2020, 3.4), and the score of the whole answer at its end.

    The end is the state behind the last token, where the reward model has read the answer; for an answer that fills the
    row it is the last token (Huang 2024's code).
    """
    rewards = -coefficient * kl
    ends = lengths.clamp(max=kl.shape[1] - 1)
    return rewards.scatter_add(1, ends.unsqueeze(1), scores.unsqueeze(1))


def advantages_of(rewards: Tensor, values: Tensor, *, gamma: float, lam: float) -> Tensor:
    """Generalised advantage estimates: A_t = δ_t + γλ · A_{t+1}, δ_t = r_t + γ · V_{t+1} - V_t (Schulman 2016, eq. 16)."""
    following = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    deltas = rewards + gamma * following - values
    found = torch.zeros_like(deltas)
    behind = torch.zeros_like(deltas[:, 0])
    for at in reversed(range(deltas.shape[1])):
        behind = deltas[:, at] + gamma * lam * behind
        found[:, at] = behind
    return found


def policy_losses(new: Tensor, old: Tensor, advantages: Tensor, cliprange: float) -> tuple[Tensor, Tensor]:
    """-min(r · A, clip(r, 1 ± ε) · A) for each token (Schulman 2017, eq. 7), and where the clipped one was taken."""
    ratios = torch.exp(new - old)
    plain, clipped = -advantages * ratios, -advantages * ratios.clamp(1 - cliprange, 1 + cliprange)
    return torch.max(plain, clipped), clipped > plain


def value_losses(new: Tensor, old: Tensor, returns: Tensor, cliprange: float) -> tuple[Tensor, Tensor]:
    """½ · max((V - R)², (clip(V, V_old ± ε) - R)²) (Huang 2024, value clipping), and where the clipped one was taken."""
    clipped = torch.clamp(new, old - cliprange, old + cliprange)
    plain_losses, clipped_losses = (new - returns) ** 2, (clipped - returns) ** 2
    return 0.5 * torch.max(plain_losses, clipped_losses), clipped_losses > plain_losses


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    """1 - Var(R - V) / Var(R): 1 for a perfect value model, 0 for a constant one, 0 where the returns are all the same."""
    spread = masked_variance(returns, mask)
    return torch.where(spread > TINY, 1 - masked_variance(returns - values, mask) / spread.clamp(min=TINY), 0.0)


def adapted_coefficient(coefficient: float, kl: float, target: float, answers: int, horizon: int) -> float:
    """β · (1 + clip(KL / target - 1, ±0.2) · answers / horizon) (Ziegler 2019, 2.2). `kl` in nats an answer."""
    error = min(max(kl / target - 1, -LARGEST_CHANGE), LARGEST_CHANGE)
    return coefficient * (1 + error * answers / horizon)
