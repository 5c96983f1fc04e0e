"""How two shares differ: an interval that holds at all times at once, so that one may look and stop as one likes.

For each arm the likelihood of what was seen, averaged over Jeffreys' prior, is divided by its likelihood at a share p:
a martingale of mean 1 if p is the truth (a beta-binomial mixture: Robbins 1970; Howard, Ramdas, McAuliffe and Sekhon
2021, "Time-uniform, nonparametric, nonasymptotic confidence sequences", Annals of Statistics 49). Two arms multiply:
the chance that the product at the true pair of shares ever reaches 1/alpha is at most alpha (Ville's inequality). A
difference is in the interval as long as some pair of shares that differs by it keeps the product below. Pure.
"""

from __future__ import annotations

import math

from services.inference_gateway.rollouts.guard import Count

STEPS = 50  # of a bisection: to 1e-15 of a share
PRIOR = 0.5


def interval(a: Count, b: Count, alpha: float) -> tuple[float, float]:
    """Of b's share less a's: where it lies with probability 1 - alpha, at all times at once. (-1, 1) at first."""
    middle = b.share - a.share
    return _end(a, b, alpha, middle, -1.0), _end(a, b, alpha, middle, 1.0)


def excludes(a: Count, b: Count, difference: float, alpha: float) -> bool:
    """Whether b's share is not a's plus `difference`: whether that lies outside the interval."""
    return _evidence(a, b, difference) >= -math.log(alpha)


def _end(a: Count, b: Count, alpha: float, inside: float, outside: float) -> float:
    for _ in range(STEPS):
        middle = (inside + outside) / 2
        if excludes(a, b, middle, alpha):
            outside = middle
        else:
            inside = middle
    return outside


def _evidence(a: Count, b: Count, difference: float) -> float:
    """Logarithm of the product, at the pair with that difference where it is least. It is convex in a's share."""
    low, high = max(0.0, -difference), min(1.0, 1.0 - difference)
    for _ in range(STEPS):
        share = (low + high) / 2
        if _slope(a, share) + _slope(b, share + difference) < 0:
            low = share
        else:
            high = share
    share = (low + high) / 2
    return _log_mixture(a) + _log_mixture(b) - _log_likelihood(a, share) - _log_likelihood(b, share + difference)


def _log_mixture(count: Count) -> float:
    def log_beta(first: float, second: float) -> float:
        return math.lgamma(first) + math.lgamma(second) - math.lgamma(first + second)

    return log_beta(count.bad + PRIOR, count.all - count.bad + PRIOR) - log_beta(PRIOR, PRIOR)


def _log_likelihood(count: Count, share: float) -> float:
    """Of a share at the edge too: what was never seen there is no surprise."""
    rest = count.all - count.bad
    return (count.bad * _log(share) if count.bad else 0.0) + (rest * _log(1.0 - share) if rest else 0.0)


def _slope(count: Count, share: float) -> float:
    """Of the negative log-likelihood."""
    return (count.all - count.bad) / max(1.0 - share, 1e-300) - count.bad / max(share, 1e-300)


def _log(share: float) -> float:
    return math.log(max(share, 1e-300))
