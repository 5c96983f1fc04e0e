"""Names, wire forms and sentences: what needs no server."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest
from click.exceptions import UsageError
from google.protobuf.duration_pb2 import Duration
from gyre.dataset.v1.dataset_pb2 import Dataset
from gyre.inference_gateway.v1.deployment_pb2 import Deployment
from gyre.inference_gateway.v1.rollout_pb2 import Rollout
from gyre.training_scheduler.v1.run_pb2 import Alarm, MetricPoint, Run, RunSpec
from gyre_sdk import messages, names
from gyre_sdk.cli import datasets, output, pipelines, platform, progress, settings, spec_file, steer
from gyre_sdk.cli.events import Known
from gyre_sdk.cli.replicas import bounds
from gyre_sdk.errors import GyreError
from gyre_sdk.resources.data import holdouts
from gyre_sdk.resources.serving import scale
from gyre_sdk.resources.training import run_spec, settings_of
from gyre_sdk.transport import ServerEvent, parse_events
from gyre_trainers.methods import Method, schema_of


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("projects/p/datasets/d/versions/3", "/projects/p/datasets/d/versions/3"),
        ("projects/p/batches/01J", "/projects/p/feedback-batches/01J"),
        ("projects/p/auditEntries", "/projects/p/audit"),
        ("projects/p/inferenceBatches/batch_1", "/projects/p/inference-batches/batch_1"),
        ("projects/p/datasets/a b", "/projects/p/datasets/a%20b"),
    ],
)
def test_a_name_has_an_address(name: str, path: str) -> None:
    assert names.path(name) == path


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("projects/p/runs/01J", "01J"),
        ("projects/p/datasets/hotline/versions/3", "hotline@3"),
        ("projects/p/models/bot/versions/2/variants/q8-0", "bot@2:q8-0"),
    ],
)
def test_people_see_short_names(name: str, short: str) -> None:
    assert names.short(name) == short


@pytest.mark.parametrize("given", ["SFT", "sft", "TYPE_SFT"])
def test_an_enum_is_known_by_its_bare_name(given: str) -> None:
    assert messages.enum_value(Dataset, "type", given) == Dataset.TYPE_SFT
    assert messages.enum_name(Dataset(type=Dataset.TYPE_SFT), "type") == "SFT"


def test_a_deployment_is_shown_with_its_points_in_time_and_its_durations(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output.OPTIONS, "json", False)  # another test may have asked for it
    deployment = Deployment(name="projects/p/deployments/d", scale=scale(0, 3, 900))
    deployment.create_time.FromDatetime(datetime.now(UTC))
    output.show_item(deployment)
    shown = capsys.readouterr().out
    assert ("900s" in shown, "ago)" in shown, bounds(deployment)) == (True, True, "0 to 3 replicas")


def test_an_unknown_enum_value_is_answered_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="SFT, PREFERENCE, EVALUATION, PROMPT"):
        messages.enum_value(Dataset, "type", "VIDEO")


def test_a_newer_servers_field_is_no_error() -> None:
    parsed = messages.parse(Dataset, {"name": "projects/p/datasets/d", "size_bytes": "12", "colour": "blue"})
    assert (parsed.name, parsed.size_bytes) == ("projects/p/datasets/d", 12)


def test_settings_that_the_method_alone_knows_go_beside_the_common_ones() -> None:
    found = run_spec("ppo", "base", ["d"], {"beta": 0.2, "kl_target": 6, "kl_estimator": "k3"}).hyperparameters
    assert (found.beta, dict(found.own)) == (0.2, {"kl_target": 6, "kl_estimator": "k3"})
    assert settings_of(found) == {"beta": 0.2, "kl_target": 6, "kl_estimator": "k3"}
    with pytest.raises(ValueError, match="batch_size"):
        run_spec("SFT", "base", [], {"batch_size": "many"})


def test_a_run_spec_sends_only_what_was_set() -> None:
    body = messages.to_body(RunSpec(base="b", seed=7))
    assert body == {"base": "b", "seed": "7"}


def test_holdouts_become_split_settings() -> None:
    split = holdouts({"parks": 60}, test_fraction=0.3, seed=2)
    assert (split.holdouts[0].slice, split.holdouts[0].test_rows, split.test_fraction) == ("parks", 60, 0.3)
    assert not holdouts({}).HasField("test_fraction")


def test_server_events_are_read_until_the_end() -> None:
    lines = [
        ": connected",
        "",
        "event: fact",
        'data: {"a": 1}',
        "",
        'data: {"b": 2}',
        "",
        "event: end",
        "data: {}",
        "",
        "data: 1",
    ]
    assert list(parse_events(lines)) == [ServerEvent("fact", {"a": 1}), ServerEvent("message", {"b": 2})]


def test_a_problem_in_a_stream_is_raised() -> None:
    lines = ["event: problem", 'data: {"reason": "RUN_NOT_FOUND", "detail": "There is no such run."}', ""]
    with pytest.raises(GyreError, match="no such run") as caught:
        list(parse_events(lines))
    assert caught.value.reason == "RUN_NOT_FOUND"


def test_a_problem_keeps_reason_facts_and_remedy() -> None:
    error = GyreError.from_problem(
        412,
        {"detail": "It is pinned.", "reason": "PINNED", "metadata": {"holder": "runs/7", "remedy": "Cancel the run."}},
    )
    assert (error.reason, error.remedy, error.metadata["holder"]) == ("PINNED", "Cancel the run.", "runs/7")
    assert GyreError.from_problem(401, {}).remedy
    assert GyreError(0, "VERDICT_REQUIRED", "").refused_by_gate
    assert GyreError(503, "UNAVAILABLE", "").unavailable


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (138_200_000, "138.2 MB"), (5 * 10**12, "5.0 TB")]
)
def test_sizes_are_read_in_decimal_units(count: int, text: str) -> None:
    assert output.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(4, "4 s"), (125, "2 min 05 s"), (11_400, "3 h 10 min"), (187_200, "2 d 4 h")]
)
def test_durations_are_read_in_two_units(seconds: float, text: str) -> None:
    assert output.duration(seconds) == text


def test_parameters_are_counted_in_thousands_and_more() -> None:
    assert [output.count(n) for n in (0, 188_736, 134_515_008, 7_000_000_000)] == ["", "189 k", "135 M", "7.0 B"]


def test_money_is_in_dollars() -> None:
    assert [output.money(0), output.money(1_500_000), output.money(1_234)] == ["$0", "$1.50", "$0.0012"]


def test_a_runs_line_says_step_loss_and_remaining_time() -> None:
    run = Run(number=3, state=Run.STATE_RUNNING, step=42, total_steps=180, loss=1.2345)
    run.eta.FromTimedelta(timedelta(seconds=125))
    assert progress.run_line(run) == "run #3 RUNNING · step 42/180 · loss 1.234 · 2 min 05 s left"
    assert progress.run_share(run) == pytest.approx(42 / 180)
    run.eta_low.FromTimedelta(timedelta(seconds=110))
    run.eta_high.FromTimedelta(timedelta(seconds=140))
    run.metrics.update(tokens_per_second=310.4, memory_bytes=1.2e9)
    run.model_flops_utilisation, run.cost_microusd, run.expected_cost_microusd = 0.384, 10_000, 52_000
    assert progress.run_line(run) == (
        "run #3 RUNNING · step 42/180 · loss 1.234 · 2 min 05 s left (1 min 50 s to 2 min 20 s)"
        " · 310 tokens/s (38% of the card) · 1.2 GB · $0.01 of $0.052"
    )
    waiting = Run(number=4, state=Run.STATE_QUEUED, waiting_reason="NO_FREE_CPU")
    assert progress.run_line(waiting) == "run #4 QUEUED · no free cpu"


def test_an_age_is_told_from_now() -> None:
    assert output.ago(datetime.now(UTC) - timedelta(seconds=65)) == "1 min 05 s ago"


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("Qwen/Qwen3-0.6B", "qwen-qwen3-0.6b"),
        ("gpt-4o", "gpt-4o"),
        ("/models/a b.gguf", "models-a-b.gguf"),
        ("模型", "upstream"),
    ],
)
def test_a_deployments_name_is_made_of_the_models(model: str, name: str) -> None:
    assert platform.deployment_id(model) == name


def test_a_json_log_line_is_made_readable() -> None:
    line = '{"time": "12:00", "level": "INFO", "message": "ready", "service": "dataset", "trace_id": ""}'
    assert platform.readable(line).startswith("12:00 ")
    assert "ready" in platform.readable(line) and "service=dataset" in platform.readable(line)
    assert platform.readable("LOG: plain") == "LOG: plain"


@pytest.mark.parametrize("term", ["parks", "parks=", "=3", "parks=many"])
def test_a_bad_holdout_says_how_it_is_written(term: str) -> None:
    with pytest.raises(UsageError, match="parks=60"):
        datasets._parse_holdouts((term,))


def test_a_gate_rule_is_a_slice_and_a_bound() -> None:
    assert pipelines.rule_of("parks:0") == {"slice": "parks", "min_lower_bound": 0.0}
    assert pipelines.rule_of("!parks:-0.05") == {"slice": "!parks", "min_lower_bound": -0.05}
    assert pipelines.rule_of(":0.1")["slice"] == ""
    with pytest.raises(UsageError, match="colon"):
        pipelines.rule_of("parks")


def test_a_lap_waits_for_so_many_pieces_of_a_data_set() -> None:
    assert pipelines.collected("hotline:50") == {"dataset_id": "hotline", "min_feedback": 50}
    for wrong in ("hotline", ":50", "hotline:many"):
        with pytest.raises(UsageError, match="DATASET:PIECES"):
            pipelines.collected(wrong)


@pytest.mark.parametrize("text", ["base: b\nsuites: [s]\n", '{"base": "b", "suites": ["s"]}'])
def test_a_lap_is_read_from_yaml_and_from_json(text: str) -> None:
    file = io.StringIO(text)
    assert spec_file.read_spec(file) == {"base": "b", "suites": ["s"]}


@pytest.mark.parametrize(("text", "says"), [("a: [", "neither YAML nor JSON"), ("- a\n", "one object")])
def test_what_is_no_lap_is_refused_with_the_name_of_its_file(text: str, says: str) -> None:
    file = io.StringIO(text)
    file.name = "lap.yaml"
    with pytest.raises(UsageError, match=f"lap.yaml .*{says}"):
        spec_file.read_spec(file)


def test_what_can_be_set_is_shown_with_default_range_and_meaning() -> None:
    rows = {row[0]: row[1:] for row in settings.table(schema_of(Method.PPO))}
    assert rows["cliprange"][:2] == ["0.2", "> 0, ≤ 10"]
    assert rows["kl_estimator"][:2] == ["k1", "k1 | k3"]
    assert rows["learning_rate"][0] == "" and rows["learning_rate"][2].startswith("Learning rate.")


def test_a_health_rule_is_an_action_or_a_limit() -> None:
    chosen = settings.health(("divergence=roll_back", "divergence_ratio=3"))
    found = run_spec("SFT", "base", [], health=chosen).health
    assert (found.divergence, found.divergence_ratio) == (Alarm.ACTION_ROLL_BACK, 3)
    with pytest.raises(UsageError, match="RULE=ACTION"):
        settings.health(("divergence",))
    with pytest.raises(ValueError, match="divergense"):
        run_spec("SFT", "base", [], health={"divergense": "STOP"})
    with pytest.raises(ValueError, match="divergence"):
        run_spec("SFT", "base", [], health={"divergence": "SHRUG"})


def test_a_setting_is_a_number_or_a_word() -> None:
    given = ("kl_estimator=k3", "whiten_rewards=true")
    assert settings.hyperparameters(given) == {"kl_estimator": "k3", "whiten_rewards": True}
    assert settings.hyperparameters(("learning_rate=1e-3", "max_steps=40")) == {"learning_rate": 1e-3, "max_steps": 40}
    with pytest.raises(UsageError, match="NAME=VALUE"):
        settings.hyperparameters(("learning_rate",))


def test_a_fact_that_comes_again_is_known() -> None:
    known = Known(size=2)
    events = [{"id": str(number)} for number in range(3)]
    assert [known.is_new(event) for event in (events[0], events[0], events[1], events[2])] == [True, False, True, True]
    assert known.is_new(events[0])  # long forgotten


def test_a_deployment_is_shown_though_one_of_its_times_is_a_duration(capsys: pytest.CaptureFixture[str]) -> None:
    deployment = Deployment(name="projects/p/deployments/hotline", rollout=Rollout(step_time=Duration(seconds=60)))
    output.show_item(deployment)
    assert "60s" in capsys.readouterr().out


def test_curves_side_by_side_end_with_the_last_step_and_leave_out_what_was_not_measured() -> None:
    short, long = (
        [MetricPoint(step=step, metrics={"loss": loss / step}) for step in range(1, steps + 1)]
        for loss, steps in ((1.0, 5), (2.0, 40))
    )
    rows = steer.side_by_side([short, long, []], "loss")
    assert 2 <= len(rows) <= steer.SHOWN_STEPS
    assert rows[-1] == ["40", "", "0.05", ""]
    assert [row[0] for row in rows] == sorted((row[0] for row in rows), key=int)
    assert steer.side_by_side([short, long], "kl") == []
