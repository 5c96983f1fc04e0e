"""Model cards: what is known is written down, what is not known is not made up. Pure: facts in, Markdown out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from gyre.evaluation.v1.evaluation_pb2 import Evaluation, SliceScore
from gyre.training_scheduler.v1.run_pb2 import Run
from gyre_kit.names import last
from gyre_kit.render import enum_name

from services.model_registry import licences
from services.model_registry.licences import Terms
from services.model_registry.models import KnownData, Version

LONGEST_CARD = 100_000  # characters
FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)
HUB_ID = re.compile(r"^(?:hf://)?([A-Za-z0-9][\w.-]*/[\w.-]+)(?=$|[@\s])")
NOT_ON_THE_HUB = frozenset(
    [
        "own",
        "qwen",
        "qwen-research",
        "tongyi-qianwen",
        "deepseek",
        "mrl",
        "mnpl",
        "stabilityai-ai-community",
        "openai-terms",
    ]
)
MODEL, DATA, RECIPE, SCORES, LIMITS, TERMS, COST, SOURCE = GENERATED = (
    "Model",
    "Data",
    "Recipe",
    "Scores",
    "Limits",
    "Licence and terms",
    "Cost",
    "Card of the source",
)


@dataclass(frozen=True)
class Section:
    title: str
    body: str
    generated: bool = False


@dataclass(frozen=True)
class Facts:
    """All that a card is written from."""

    version: Version
    licence: str
    terms: Terms
    data: Sequence[KnownData] = ()
    base: Version | None = None
    run: Run | None = None
    evaluations: Sequence[Evaluation] = ()
    written: Sequence[Section] = field(default=())


def sections_of(facts: Facts) -> list[Section]:
    """What people wrote, then what is known; a heading of which nothing is known is left out."""
    known = {
        MODEL: _model(facts),
        DATA: _data(facts.data),
        RECIPE: _recipe(facts.run),
        SCORES: _scores(facts.evaluations),
        LIMITS: _limits(facts),
        TERMS: _terms(facts.terms),
        COST: _cost(facts.run),
        SOURCE: _demoted(facts.version.card),
    }
    return [*facts.written, *(Section(title, body, generated=True) for title, body in known.items() if body)]


def markdown_of(facts: Facts) -> str:
    """The whole card, with front matter as the Hugging Face Hub reads it."""
    front = yaml.safe_dump(_front_matter(facts), sort_keys=False, allow_unicode=True)
    title = _one_line(facts.version.display_name or f"{last(facts.version.model)} {facts.version.number}")
    body = "\n\n".join(f"## {section.title}\n\n{section.body}" for section in sections_of(facts))
    return f"---\n{front}---\n\n# {title}\n\n{body}\n"


def written_in(markdown: str) -> list[Section]:
    """The sections of an edited card that people wrote: without front matter, title and what is written from facts."""
    found: list[tuple[str, list[str]]] = [("About", [])]
    for line, is_code in _lines(markdown):
        if line.startswith("## ") and not is_code:
            found.append((line[3:].strip(), []))
        elif is_code or not line.startswith("# "):
            found[-1][1].append(line)
    sections = [Section(title, "\n".join(lines).strip()) for title, lines in found]
    return [section for section in sections if section.body and section.title not in GENERATED]


def readme_of(folder: Path) -> str:
    """The README that weights came with; empty if there was none."""
    readme = folder / "README.md"
    return readme.read_text("utf-8", errors="replace")[:LONGEST_CARD] if readme.is_file() else ""


def licence_of(readme: str) -> str:
    """What a README's front matter says; `other` is told by its `license_name`. Empty where it says nothing."""
    match = FRONT_MATTER.match(readme.replace("\r\n", "\n"))
    try:
        said = yaml.safe_load(match.group(1)) if match else None
    except yaml.YAMLError:
        return ""
    if not isinstance(said, dict):
        return ""
    licence = said.get("license")
    if licence == "other":
        licence = said.get("license_name") or licence
    names = licence if isinstance(licence, list) else [licence]
    return " AND ".join(name for name in names if isinstance(name, str))[:200]


def _front_matter(facts: Facts) -> dict[str, Any]:
    front: dict[str, Any] = {}
    if facts.licence:
        front |= _hub_licence(facts.licence)
    if base := _hub_name(facts.base):
        front["base_model"] = base
    if facts.data:
        front["datasets"] = [data.name for data in facts.data]
    method = [enum_name(facts.run.spec, "method").lower()] if facts.run else []
    front |= {"library_name": "transformers", "pipeline_tag": "text-generation", "tags": ["gyre", *method]}
    if results := [_result(evaluation, score) for evaluation, score in _whole(facts.evaluations)]:
        front["model-index"] = [{"name": last(facts.version.model), "results": results}]
    return front


def _hub_licence(stated: str) -> dict[str, str]:
    """The Hub has a list of ids, and `other` with a name and a link for the rest."""
    known = licences.find(stated)
    if known and known.id in licences.KNOWN and known.id not in NOT_ON_THE_HUB:
        return {"license": known.id}
    link = {"license_link": known.url} if known and known.url else {}
    return {"license": "other", "license_name": stated, **link}


def _hub_name(base: Version | None) -> str:
    if base is None:
        return ""
    match = HUB_ID.match(base.source) or HUB_ID.match(base.origin)
    return match.group(1) if match else base.name


def _result(evaluation: Evaluation, score: SliceScore) -> dict[str, Any]:
    return {
        "task": {"type": "text-generation"},
        "dataset": {"name": last(evaluation.suite), "type": evaluation.suite},
        "metrics": [{"type": score.metric, "value": round(score.value, 4), "name": last(evaluation.variant)}],
    }


def _model(facts: Facts) -> str:
    version = facts.version
    rows = {
        "Version": f"`{version.name}`",
        "Base": f"`{version.base_version}`" if version.base_version else "",
        "Made by": f"`{version.run}`" if version.run else "",
        "Architecture": version.architecture,
        "Parameters": f"{version.parameter_count:,}" if version.parameter_count else "",
        "Size": f"{version.size_bytes:,} bytes" if version.size_bytes else "",
        "Origin": version.origin,
        "Digest": f"`{version.digest}`" if version.digest else "",
    }
    return _table(("", ""), [(name, value) for name, value in rows.items() if value])


def _data(data: Sequence[KnownData]) -> str:
    rows = [(f"`{it.name}`", f"{it.row_count:,}", it.licence or "not stated", it.origin) for it in data]
    return _table(("Data set version", "Rows", "Licence", "Origin"), rows) if rows else ""


def _recipe(run: Run | None) -> str:
    if run is None:
        return ""
    rows = [("Method", enum_name(run.spec, "method")), ("Recipe", run.spec.recipe), ("Steps", f"{run.step:,}")]
    rows += [("Seed", str(run.spec.seed))]
    settings = {field.name: value for field, value in run.spec.hyperparameters.ListFields()}
    settings |= settings.pop("own", {})
    rows += [(name.replace("_", " "), _number(value)) for name, value in settings.items()]
    if run.HasField("loss"):
        rows.append(("Last training loss", f"{run.loss:.4g}"))
    return _table(("", ""), [(name, value) for name, value in rows if value])


def _scores(evaluations: Sequence[Evaluation]) -> str:
    rows = [
        (
            f"`{last(evaluation.variant)}`",
            f"`{last(evaluation.suite)}`",
            score.metric,
            f"{score.value:.3f}",
            f"{score.lower:.3f} to {score.upper:.3f}",
            f"{score.count:,}",
        )
        for evaluation, score in _whole(evaluations)
    ]
    return _table(("Variant", "Suite", "Metric", "Value", "95 % interval", "Rows"), rows) if rows else ""


def _limits(facts: Facts) -> str:
    """Where it is weakest, and what nobody has looked at."""
    said = [] if facts.evaluations else ["It has not been evaluated here."]
    by_slice = [
        (evaluation, score) for evaluation in facts.evaluations[:1] for score in evaluation.scores if score.slice
    ]
    if by_slice:
        evaluation, worst = min(by_slice, key=lambda pair: pair[1].value)
        said.append(
            f"Weakest on “{_one_line(worst.slice)}” of `{last(evaluation.suite)}`: {worst.metric} {worst.value:.3f} "
            f"({worst.lower:.3f} to {worst.upper:.3f}) on {worst.count:,} rows."
        )
    if facts.run is not None and facts.run.spec.hyperparameters.HasField("max_length"):
        length = facts.run.spec.hyperparameters.max_length
        said.append(f"Trained on rows of at most {length:,} tokens; longer ones were cut.")
    said += [f"The licence of `{name}` is {stated or 'not stated'}." for name, stated in facts.terms.unknown]
    return "\n".join(f"- {sentence}" for sentence in said)


def _terms(terms: Terms) -> str:
    rows = [
        (
            each.term.replace("_", " ").lower(),
            f"[{_one_line(each.licence)}]({each.url})" if each.url else each.licence,
            f"`{each.because_of}`",
            each.summary,
        )
        for each in terms.terms
    ]
    return _table(("Term", "Licence", "Because of", "Which says"), rows) if rows else ""


def _cost(run: Run | None) -> str:
    return f"Training cost {run.cost_microusd / 1e6:.4f} US dollars." if run and run.cost_microusd else ""


def _demoted(readme: str) -> str:
    """Its headings move two levels down, so that it stays one section of ours."""
    lines = [line if is_code else re.sub(r"^(#{1,4}) ", r"##\1 ", line) for line, is_code in _lines(readme)]
    return "\n".join(lines).strip()


def _lines(markdown: str) -> Iterator[tuple[str, bool]]:
    """Without front matter; each with whether it belongs to a block of code."""
    is_code = False
    for line in FRONT_MATTER.sub("", markdown.replace("\r\n", "\n"), count=1).splitlines():
        is_fence = line.lstrip().startswith(("```", "~~~"))
        yield line, is_code or is_fence
        is_code ^= is_fence


def _whole(evaluations: Sequence[Evaluation]) -> Iterable[tuple[Evaluation, SliceScore]]:
    return [(evaluation, score) for evaluation in evaluations for score in evaluation.scores if not score.slice]


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(_one_line(cell) for cell in line)} |" for line in lines)


def _one_line(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
