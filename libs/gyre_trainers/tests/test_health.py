"""The rules, on series that a person can picture."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import pytest
from gyre_trainers.health import WINDOW, Alarm, Kind, Watch
from gyre_trainers.methods import Method
from gyre_trainers.settings import Action, Health
from gyre_trainers.speed import Speed


def ripple(at: int) -> float:
    """Uneven like a loss, and the same each time."""
    return 0.05 * math.sin(1.7 * at)


def falling(steps: int, begin: float = 4.0) -> list[float]:
    return [1 + (begin - 1) * 0.97**at + ripple(at) for at in range(steps)]


def alarms(
    losses: Iterable[float], method: Method = Method.SFT, health: Health | None = None, name: str = "loss"
) -> list[Alarm]:
    watch = Watch(method, health or Health())
    return [alarm for step, loss in enumerate(losses, start=1) for alarm in watch.see(step, {name: loss})]


def test_a_run_that_learns_is_well() -> None:
    assert alarms(falling(600)) == []


def test_a_loss_that_ends_near_nothing_is_well_though_it_doubles() -> None:
    found = alarms([*falling(100), *(0.02 + 0.01 * abs(ripple(at)) for at in range(100)), *[0.06] * 40])
    assert Kind.DIVERGENCE not in kinds(found)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["loss", "grad_norm"])
def test_what_is_no_number_is_told_at_once_and_by_its_name(bad: float, name: str) -> None:
    (alarm,) = Watch(Method.PPO, Health()).see(3, {name: bad, "learning_rate": 1e-3})
    assert (alarm.kind, alarm.action, alarm.step) == (Kind.NOT_FINITE, Action.ROLL_BACK, 3)
    assert alarm.detail == f"{name} is {bad}"


def test_a_spike_is_told_once_and_the_next_one_again() -> None:
    found = alarms([*falling(50), 9.0, *falling(50, 1.0), 9.0, 9.0])
    assert [(alarm.kind, alarm.step) for alarm in found] == [(Kind.LOSS_SPIKE, 51), (Kind.LOSS_SPIKE, 102)]
    assert found[0].values["value"] == 9.0
    assert found[0].values["limit"] < 9.0


def test_a_spike_before_there_is_enough_to_compare_with_is_none() -> None:
    assert alarms([*falling(20), 9.0]) == []


def test_a_loss_that_rises_and_stays_has_diverged() -> None:
    found = alarms([*falling(80), *(1.1 * 1.02**at for at in range(120))])
    (alarm,) = [alarm for alarm in found if alarm.kind is Kind.DIVERGENCE]
    assert alarm.action is Action.STOP
    assert alarm.values["limit"] >= 4 * 0.8  # above where it began, too


def reinforced(**series: Sequence[float]) -> list[Alarm]:
    watch = Watch(Method.PPO, Health())
    rows = [dict(zip(series, row, strict=True)) for row in zip(*series.values(), strict=True)]
    return [alarm for step, row in enumerate(rows, start=1) for alarm in watch.see(step, row)]


LONG = 4 * WINDOW


def kinds(found: list[Alarm]) -> list[Kind]:
    return [alarm.kind for alarm in found]


@pytest.mark.parametrize("name", ["objective/kl", "kl"])
def test_a_policy_may_neither_leave_its_reference_nor_come_nearer_than_is_possible(name: str) -> None:
    assert kinds(reinforced(**{name: [0.5 * at for at in range(LONG * 2)]})) == [Kind.KL_OUT_OF_BAND]
    assert kinds(reinforced(**{name: [-0.1 * at for at in range(LONG)]})) == [Kind.KL_OUT_OF_BAND]
    assert reinforced(**{name: [5 + ripple(at) for at in range(LONG)]}) == []


def test_answers_that_are_all_alike_have_no_entropy_left() -> None:
    assert kinds(reinforced(**{"policy/entropy": [2.0 * 0.9**at for at in range(LONG)]})) == [Kind.ENTROPY_COLLAPSE]
    assert reinforced(**{"policy/entropy": [2.0 * 0.99**at for at in range(LONG)]}) == []


def test_a_reward_that_rises_with_length_or_repetition_is_distrusted() -> None:
    rising, steady = [0.05 * at for at in range(LONG)], [20.0 + ripple(at) for at in range(LONG)]
    growing = [20.0 + 2 * at for at in range(LONG)]
    by_length = {"objective/scores": rising, "completions/mean_length": growing}
    assert kinds(reinforced(**by_length)) == [Kind.REWARD_HACKING]
    by_repetition = {"reward": rising, "completions/repetition": [0.01 * at for at in range(LONG)]}
    assert kinds(reinforced(**by_repetition)) == [Kind.REWARD_HACKING]
    assert reinforced(**{"reward": rising, "completions/mean_length": steady}) == []
    assert reinforced(**{"reward": rising[::-1], "completions/mean_length": growing}) == []


def test_the_size_of_a_policys_loss_means_nothing() -> None:
    assert alarms([*[0.01] * 60, 50.0, *[80.0] * 60], Method.GRPO) == []


def test_an_action_is_the_one_that_was_chosen() -> None:
    chosen = Health(loss_spike=Action.LOWER_LEARNING_RATE, spike_deviations=2)
    assert {alarm.action for alarm in alarms([*falling(50), 9.0], health=chosen)} == {Action.LOWER_LEARNING_RATE}


def test_the_score_is_lower_for_better_weights() -> None:
    early, late = Watch(Method.SFT, Health()), Watch(Method.SFT, Health())
    assert early.score() is None
    for loss in falling(20):
        early.see(1, {"loss": loss})
    for loss in falling(200):
        late.see(1, {"loss": loss})
    poor, rich = Watch(Method.PPO, Health()), Watch(Method.PPO, Health())
    poor.see(1, {"objective/scores": 0.1, "loss": 0.0})
    rich.see(1, {"objective/scores": 0.9, "loss": 5.0})
    for better, worse in ((late, early), (rich, poor)):
        left, right = better.score(), worse.score()
        assert left is not None and right is not None and left < right


def test_speed_is_tokens_by_the_time_since_the_report_before() -> None:
    times = iter([10.0, 12.0, 12.0])
    speed = Speed(clock=lambda: next(times))
    assert "tokens_per_second" not in speed.measured({"num_tokens": 100})
    assert speed.measured({"num_tokens": 400})["tokens_per_second"] == 150.0
    assert "tokens_per_second" not in speed.measured({"num_tokens": 500})
    assert speed.measured({})["memory_bytes"] > 2**20
