"""Traces from a seed, of kinds that schedulers meet: heavy tails on one flavor, classes on unlike cards, bursts.

Not fitted to any published trace: round numbers, so that no policy can be tuned to them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from services.gpu_scheduler.simulation.model import Job, Node, Speeds, Trace

DAY = 86400.0


def heavy_tail(jobs: int, cards: int, load: float, seed: int, *, median: float = 900.0, sigma: float = 2.2) -> Trace:
    """Log-normal durations of at most 30 days, mostly one card, gangs of up to 32, arrivals by day and night."""
    rng = random.Random(seed)

    def draw() -> tuple[float, int, str]:
        size = rng.choices([1, 2, 4, 8, 16, 32], [0.8, 0.06, 0.06, 0.06, 0.015, 0.005])[0]
        return min(max(10.0, rng.lognormvariate(math.log(median), sigma) * size**0.2), 30 * DAY), size, ""

    nodes = [Node(f"n{number}", 8, "gpu") for number in range(cards // 8)]
    return _arriving(rng, draw, jobs, nodes, {}, load)


def unlike_cards(jobs: int, load: float, seed: int, *, known: bool = False, bursts: bool = False) -> Trace:
    """Twelve classes on 28 cards each of three flavors. `known`: how long a job takes depends on its class."""
    rng = random.Random(seed)
    names = [f"class{number}" for number in range(12)]
    speeds = {
        name: {
            "a": 1.0,
            "b": round(rng.uniform(0.4, 1.2), 2),
            "c": round(rng.uniform(*((0.8, 1.4) if number < 3 else (0.08, 0.5))), 2),
        }
        for number, name in enumerate(names)
    }
    scale = dict(zip(names, [0.05, 0.1, 0.2, 0.5, 0.5, 1, 1, 1, 1.5, 2, 2, 3], strict=True))

    def draw() -> tuple[float, int, str]:
        name = rng.choice(names)
        minutes = 10 ** (rng.uniform(1.5, 3) if rng.random() < 0.8 else rng.uniform(3, 4))
        size = rng.choices([1, 2, 4, 8], [0.7, 0.1, 0.15, 0.05])[0]
        return 60 * minutes * (scale[name] if known else 1), size, name

    nodes = [Node(f"{flavor}{number}", 4, flavor) for flavor in "abc" for number in range(7)]
    known_speeds = {(name, size): row for name, row in speeds.items() for size in (1, 2, 4, 8)}
    return _arriving(rng, draw, jobs, nodes, known_speeds, load, bursts=bursts)


def alike(jobs: int, load: float, seed: int) -> Trace:
    """Every job one card and one hour: there is nothing to gain, and a policy must not lose anything."""
    rng = random.Random(seed)
    return _arriving(rng, lambda: (3600.0, 1, ""), jobs, [Node(f"n{n}", 8, "gpu") for n in range(5)], {}, load)


def _arriving(
    rng: random.Random,
    draw: Callable[[], tuple[float, int, str]],
    jobs: int,
    nodes: list[Node],
    speeds: dict[tuple[str, int], dict[str, float]],
    load: float,
    *,
    bursts: bool = False,
) -> Trace:
    """`load`: the work that arrives, over what the cluster could do meanwhile."""
    drawn = [draw() for _ in range(jobs)]
    mean = {node.flavor: _mean([row[node.flavor] for row in speeds.values()]) for node in nodes}
    power = sum(node.gpus * mean[node.flavor] for node in nodes)
    span = sum(seconds * size for seconds, size, _ in drawn) / power / load
    times = sorted(_burst(rng, span) if bursts else _by_day(rng, span) for _ in range(jobs))
    made = [
        Job(f"j{number:05}", time, seconds, size, model_type=name)
        for number, (time, (seconds, size, name)) in enumerate(zip(times, drawn, strict=True))
    ]
    return Trace(made, nodes, speeds=Speeds(speeds))


def _by_day(rng: random.Random, span: float) -> float:
    while True:
        time = rng.random() * span
        if rng.random() * 1.6 < 1 + 0.6 * math.sin(2 * math.pi * time / DAY):
            return time


def _burst(rng: random.Random, span: float) -> float:
    return rng.randrange(6) * span / 6 + rng.random() * span / 40


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values) if values else 1.0
