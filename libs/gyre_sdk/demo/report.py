"""How it ends: the table, the verdict, what it cost, and the way back from an answer to the feedback behind it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from gyre.evaluation.v1.evaluation_pb2 import Evaluation
from gyre.evaluation.v1.verdict_pb2 import Verdict
from gyre.model_registry.v1.lineage_pb2 import Lineage

from gyre_sdk import messages
from gyre_sdk.cli import output
from gyre_sdk.demo.laps import share
from gyre_sdk.demo.story import Story
from gyre_sdk.errors import GyreError


def tell(story: Story) -> bool:
    """Prints everything; True if lap 2 was promoted."""
    story.show.step("What came of it")
    _scores(story)
    _sizes(story)
    _verdicts(story)
    _times_and_cost(story)
    _lineage(story)
    promoted = story.lap2 is not None and messages.enum_name(story.lap2, "state") == "SUCCEEDED"
    if promoted:
        story.show.good("lap 2 passed the gate and serves")
    else:
        story.show.bad("lap 2 was refused by the gate: nothing was promoted, lap 1 goes on serving")
    _where_to_look(story)
    return promoted


def _scores(story: Story) -> None:
    suites = [suite.rsplit("/", 1)[-1] for suite in (*story.suites, *story.reported_suites)]
    measured = {name: evaluations for name, evaluations in story.evaluations.items() if evaluations}
    for metric in ("exact", "text"):
        figures = [[name, *(_figure(it, metric) for it in measured[name])] for name in measured]
        story.show.table([metric, *suites], figures)
    story.show.say("with 95 % intervals; exact: every field right; text: chrF of the reply, 0 to 1")
    story.show.table(
        ["asked eight at a time", "latency p50", "p95", "tokens/s"],
        [[name, *_speed(evaluations[0])] for name, evaluations in measured.items()],
    )


def _speed(evaluation: Evaluation) -> list[str]:
    latencies = (evaluation.latency_p50_ms, evaluation.latency_p95_ms)
    return [*(f"{latency:.0f} ms" for latency in latencies), f"{evaluation.tokens_per_second:.0f}"]


def _figure(evaluation: Evaluation, metric: str) -> str:
    for score in evaluation.scores:
        if not score.slice and score.metric == metric:
            if metric == "text":
                return f"{score.value:.2f} ({score.lower:.2f}–{score.upper:.2f})"
            return f"{share(score.value)} ({100 * score.lower:.0f}–{100 * score.upper:.0f}, n={score.count})"
    return "–"


def _sizes(story: Story) -> None:
    rows = []
    versions = {"base": story.base_version, "lap 1": story.lap1_version}
    if story.lap2 is not None and story.lap2.model_version:
        versions["lap 2"] = story.lap2.model_version
    for name, version in versions.items():
        for variant in story.gyre.models.variants(version):
            kind = variant.quantisation or "Hugging Face, bf16"
            rows.append([name, kind, output.size(variant.size_bytes), variant.note])
    story.show.table(["", "form", "size", "note"], rows)


def _verdicts(story: Story) -> None:
    for verdict in _verdicts_of(story):
        for outcome in verdict.outcomes:
            rule = outcome.rule
            line = (
                f"gate, {rule.metric} on {rule.slice or 'all rows'}: {100 * outcome.difference:+.1f} points "
                f"({100 * outcome.lower:+.1f} to {100 * outcome.upper:+.1f}), "
                f"must be over {100 * rule.min_lower_bound:+.0f}: {'passed' if outcome.passed else 'FAILED'}"
            )
            (story.show.good if outcome.passed else story.show.bad)(line)


def _verdicts_of(story: Story) -> Sequence[Verdict]:
    gate = next((stage for stage in story.lap2.stages if stage.id == "gate"), None) if story.lap2 else None
    names = [name for key, name in sorted(gate.result.items()) if key.startswith("verdict/")] if gate else []
    return [story.gyre.verdicts.get(name) for name in names]


def _times_and_cost(story: Story) -> None:
    show = story.show
    workloads = list(story.gyre.workloads.list())
    cost = sum(workload.usage.cost_microusd for workload in workloads) / 1e6
    seconds = sum(workload.usage.cpu_seconds for workload in workloads)
    show.say(f"{len(workloads)} pieces of work, {output.duration(seconds)} of CPU, ${cost:.4f} by the flavor's price")
    if story.improved_after is not None:
        show.say(f"{output.duration(story.improved_after)} from the last approval to the first improved answer")
    show.say(f"{output.duration(time.monotonic() - show.began)} in all")


def _lineage(story: Story) -> None:
    completion = story.improved_completion
    if not completion:
        return
    name = f"projects/{story.project}/completions/{completion}"
    try:
        lineage = _when_kept(story, name)
    except GyreError as error:
        story.show.warn(f"lineage of {name}: {error}")
        return
    story.show.say("from the improved answer back to what people said:")
    for line in _way_back(lineage, name):
        story.show.say(f"  {line}")


def _when_kept(story: Story, name: str, seconds: float = 15.0) -> Lineage:
    """The gateway keeps an answer a moment after it was given."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return story.gyre.models.lineage(name, direction="UPSTREAM", depth=16)
        except GyreError as error:
            if not error.not_found or time.monotonic() > deadline:
                raise
        time.sleep(0.3)


def _way_back(lineage: Lineage, start: str) -> list[str]:
    """One way through the graph, from `start` to a piece of feedback."""
    kinds = {node.name: node.kind for node in lineage.nodes}
    sources: dict[str, list[tuple[str, str]]] = {}
    for edge in lineage.edges:
        sources.setdefault(edge.target, []).append((edge.source, edge.relation))
    paths: list[list[tuple[str, str]]] = [[(start, "")]]
    seen = {start}
    while paths:
        path = paths.pop(0)
        name = path[-1][0]
        if kinds.get(name) == "feedback":
            return [f"{kinds.get(each, '?'):16} {each}{f'  ({how})' if how else ''}" for each, how in path]
        for source, relation in sources.get(name, []):
            if source not in seen:
                seen.add(source)
                paths.append([*path, (source, relation)])
    return ["no feedback lies behind this answer"]


def _where_to_look(story: Story) -> None:
    config = story.gyre.config
    story.show.say(f"console   {config.url}  (project {story.project}; sign in with the key in admin.key)")
    story.show.say(f"chat      gyre chat -p {story.project} {story.deployment}")
    story.show.say("stop      gyre down")
