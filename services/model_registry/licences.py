"""Licences of data and weights, and what they ask of everything made from them. Pure: no database, no network.

A term is never shed on the way down: a descendant stands under its own terms and those of all its ancestors. That is
the cautious reading; whether a term really binds weights that were trained on a work is for a lawyer to say.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Term(StrEnum):
    """As `gyre.model_registry.v1.Term`."""

    NON_COMMERCIAL = "NON_COMMERCIAL"
    ATTRIBUTION = "ATTRIBUTION"
    NAMING = "NAMING"
    SHARE_ALIKE = "SHARE_ALIKE"
    NO_TRAINING_OF_RIVALS = "NO_TRAINING_OF_RIVALS"
    FIELD_OF_USE = "FIELD_OF_USE"


NC, BY, NAME, SA = Term.NON_COMMERCIAL, Term.ATTRIBUTION, Term.NAMING, Term.SHARE_ALIKE
RIVALS, USE = Term.NO_TRAINING_OF_RIVALS, Term.FIELD_OF_USE

SUMMARIES: Mapping[Term, str] = {
    NC: "Not for commercial use.",
    BY: "Its notice or source must go along with it.",
    NAME: "What is built on it must carry its name.",
    SA: "What is built on it must be passed on under the same terms.",
    RIVALS: "Neither it nor what it says may teach models of other makers.",
    USE: "Some uses, or users of some size, are ruled out; read its policy.",
}


@dataclass(frozen=True)
class Licence:
    """`id` as SPDX or the Hugging Face Hub writes it; `summaries` where a term says something of its own."""

    id: str
    terms: frozenset[Term]
    url: str = ""
    summaries: Mapping[Term, str] = field(default_factory=dict)

    def summary(self, term: Term) -> str:
        return self.summaries.get(term, SUMMARIES[term])


@dataclass(frozen=True)
class Stated:
    """What is said of one thing. `needs_one`: it brings something new, whose terms somebody must know."""

    licence: str = ""
    needs_one: bool = False


@dataclass(frozen=True)
class Inherited:
    term: Term
    because_of: str
    licence: str
    summary: str
    url: str


@dataclass(frozen=True)
class Terms:
    """Of one thing: its terms by ancestor, and the ancestors (or itself) of which nothing can be told."""

    terms: Sequence[Inherited] = ()
    unknown: Sequence[tuple[str, str]] = ()  # name, licence as stated


@dataclass(frozen=True)
class Policy:
    """What a project refuses to deploy."""

    refuse_terms: Collection[Term] = ()
    refuse_unknown: bool = False


@dataclass(frozen=True)
class Refusal:
    """`term` is None where an unknown licence is the reason."""

    term: Term | None
    because_of: str
    licence: str
    message: str


def find(stated: str) -> Licence | None:
    """The licence of that name, however it is spelt; of `A AND B` both, of `A OR B` the one that asks less."""
    alternatives = [_all_of(part) for part in re.split(r"\s+OR\s+", stated.strip(" ()"))]
    known = [licence for licence in alternatives if licence is not None]
    return min(known, key=lambda licence: len(licence.terms), default=None)


def inherit(name: str, parents: Mapping[str, Sequence[str]], stated: Mapping[str, Stated]) -> Terms:
    """The terms of `name`: nearest first, each with the ancestor that brings it.

    `parents` maps a name to what it was made of. A thing without a licence that `needs_one`, or with one that we do
    not know, is unknown.
    """
    terms: list[Inherited] = []
    unknown: list[tuple[str, str]] = []
    for each in _upwards(name, parents):
        said = stated.get(each, Stated())
        licence = find(said.licence) if said.licence else None
        if licence is not None:
            terms += [
                Inherited(term, each, said.licence, licence.summary(term), licence.url)
                for term in Term
                if term in licence.terms
            ]
        elif said.licence or said.needs_one:
            unknown.append((each, said.licence))
    return Terms(terms, unknown)


def refusals(found: Terms, policy: Policy) -> list[Refusal]:
    """What `policy` has against a thing that stands under these terms."""
    against = [
        Refusal(
            each.term,
            each.because_of,
            each.licence,
            f"{each.because_of} is under {each.licence}: {each.summary} The project refuses {each.term}.",
        )
        for each in found.terms
        if each.term in policy.refuse_terms
    ]
    if policy.refuse_unknown:
        against += [
            Refusal(None, name, licence, f"{name} has {_no_licence(licence)}, and the project refuses that.")
            for name, licence in found.unknown
        ]
    return against


def _no_licence(stated: str) -> str:
    return f"the licence “{stated[:80]}”, whose terms are not known" if stated else "no stated licence"


def _upwards(name: str, parents: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """`name` and all that it came from, each once, nearest first; a loop ends."""
    seen, waiting = {name}, deque([name])
    while waiting:
        each = waiting.popleft()
        yield each
        new = [parent for parent in parents.get(each, ()) if parent not in seen]
        seen.update(new)
        waiting.extend(dict.fromkeys(new))


def _all_of(stated: str) -> Licence | None:
    parts = [KNOWN.get(_key(part)) for part in re.split(r"\s+AND\s+", stated.strip(" ()"))]
    known = [licence for licence in parts if licence is not None]
    if len(known) != len(parts):
        return None
    if len(known) == 1:
        return known[0]
    summaries = {term: licence.summary(term) for licence in known for term in licence.terms}
    return Licence(stated, frozenset(summaries), known[0].url, summaries)


def _key(stated: str) -> str:
    """`cc-by-nc-4.0` of `CC BY-NC 4.0`, `gpl-3.0` of `GPL-3.0-or-later`, `llama3.1` of `Llama 3.1 licence`."""
    text = re.sub(r"\s+WITH\s+.*", "", stated.strip(" ()")).lower()
    text = re.sub(r"[\s_]+", "-", text).strip("-")
    text = re.sub(r"-(only|or-later|international|deed)$", "", text)
    text = re.sub(r"-(community-)?licen[cs]e(-agreement)?(?=-|$)", "", text)
    text = re.sub(r"^(meta-)?llama-?(?=\d)", "llama", text)
    return OTHER_NAMES.get(text, text)


def _table() -> dict[str, Licence]:
    rows: list[Licence] = [Licence("own", frozenset(), "")]
    free = ("cc0-1.0", "unlicense", "0bsd", "pddl-1.0", "wtfpl", "mit-0")
    notice = ("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc", "bsl-1.0", "zlib", "afl-3.0", "ecl-2.0")
    passed_on = ("gpl-2.0", "gpl-3.0", "agpl-3.0", "lgpl-2.1", "lgpl-3.0", "mpl-2.0", "epl-2.0", "eupl-1.2", "osl-3.0")
    by_terms: list[tuple[tuple[str, ...], tuple[Term, ...]]] = [(free, ()), (notice, (BY,)), (passed_on, (BY, SA))]
    for names, terms in by_terms:
        rows += [Licence(name, frozenset(terms), f"https://spdx.org/licenses/{SPELLINGS[name]}.html") for name in names]
    rows += [Licence("odc-by", frozenset({BY}), "https://opendatacommons.org/licenses/by/1-0/")]
    rows += [Licence("odbl", frozenset({BY, SA}), "https://opendatacommons.org/licenses/odbl/1-0/")]
    shared = {USE: "No changed version of it may be shared."}
    for kind, terms in CREATIVE_COMMONS.items():
        for version in ("2.0", "2.5", "3.0", "4.0"):
            url = f"https://creativecommons.org/licenses/{kind}/{version}/"
            summaries = shared if USE in terms else {}
            rows.append(Licence(f"cc-{kind}-{version}", frozenset(terms), url, summaries))
        rows.append(Licence(f"cc-{kind}", frozenset(terms), f"https://creativecommons.org/licenses/{kind}/4.0/"))
    return {licence.id: licence for licence in (*rows, *MODEL_LICENCES)}


SPELLINGS = {
    name.lower(): name
    for name in [
        "CC0-1.0",
        "Unlicense",
        "0BSD",
        "PDDL-1.0",
        "WTFPL",
        "MIT-0",
        "Apache-2.0",
        "MIT",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "ISC",
        "BSL-1.0",
        "Zlib",
        "AFL-3.0",
        "ECL-2.0",
        "GPL-2.0",
        "GPL-3.0",
        "AGPL-3.0",
        "LGPL-2.1",
        "LGPL-3.0",
        "MPL-2.0",
        "EPL-2.0",
        "EUPL-1.2",
        "OSL-3.0",
    ]
}
CREATIVE_COMMONS: Mapping[str, tuple[Term, ...]] = {
    "by": (BY,),
    "by-sa": (BY, SA),
    "by-nd": (BY, USE),
    "by-nc": (BY, NC),
    "by-nc-sa": (BY, NC, SA),
    "by-nc-nd": (BY, NC, USE),
}
LLAMA_NAME = {NAME: "What is built on it must show “Built with Llama”, and a model begin its name with “Llama”."}
LLAMA_USE = {USE: "Its acceptable use policy holds, and makers with over 700 million monthly users must ask Meta."}
MODEL_LICENCES = (
    Licence("llama2", frozenset({BY, RIVALS, USE}), "https://ai.meta.com/llama/license/", LLAMA_USE),
    Licence(
        "llama3", frozenset({BY, NAME, RIVALS, USE}), "https://www.llama.com/llama3/license/", LLAMA_NAME | LLAMA_USE
    ),
    *(
        Licence(
            f"llama{version}",
            frozenset({BY, NAME, USE}),
            f"https://www.llama.com/llama{version.replace('.', '_')}/license/",
            LLAMA_NAME | LLAMA_USE,
        )
        for version in ("3.1", "3.2", "3.3", "4")
    ),
    Licence("gemma", frozenset({BY, USE}), "https://ai.google.dev/gemma/terms"),
    Licence(
        "qwen",
        frozenset({BY, NAME, USE}),
        "https://huggingface.co/Qwen/Qwen2.5-72B-Instruct/blob/main/LICENSE",
        {NAME: "A model made with it or its answers must show “Built with Qwen” or “Improved using Qwen”."},
    ),
    Licence(
        "qwen-research",
        frozenset({BY, NAME, NC}),
        "https://huggingface.co/Qwen/Qwen2.5-3B-Instruct/blob/main/LICENSE",
        {NAME: "A model made with it or its answers must show “Built with Qwen” or “Improved using Qwen”."},
    ),
    Licence("tongyi-qianwen", frozenset({BY, RIVALS, USE}), "https://github.com/QwenLM/Qwen"),
    Licence("deepseek", frozenset({BY, USE}), "https://github.com/deepseek-ai/DeepSeek-LLM"),
    Licence("mrl", frozenset({BY, NC}), "https://mistral.ai/licenses/MRL-0.1.md"),
    Licence("mnpl", frozenset({BY, NC}), "https://mistral.ai/licenses/MNPL-0.1.md"),
    Licence("apple-amlr", frozenset({BY, NC}), ""),
    Licence(
        "stabilityai-ai-community",
        frozenset({BY, NAME, RIVALS, USE}),
        "https://stability.ai/community-license-agreement",
        {NAME: "What is built on it must show “Powered by Stability AI”."},
    ),
    *(
        Licence(name, frozenset({USE}), "https://www.licenses.ai/")
        for name in ("openrail", "openrail++", "bigscience-openrail-m", "creativeml-openrail-m", "bigcode-openrail-m")
    ),
    Licence("bigscience-bloom-rail-1.0", frozenset({USE}), "https://www.licenses.ai/"),
    Licence(
        "openai-terms",
        frozenset({RIVALS}),
        "https://openai.com/policies/",
        {RIVALS: "OpenAI's terms: what its models say may not teach models that compete with them."},
    ),
)
OTHER_NAMES = {
    "apache": "apache-2.0",
    "apache-2": "apache-2.0",
    "apache2": "apache-2.0",
    "apache2.0": "apache-2.0",
    "bsd": "bsd-3-clause",
    "cc0": "cc0-1.0",
    "public-domain": "cc0-1.0",
    "pddl": "pddl-1.0",
    "odc-by-1.0": "odc-by",
    "odbl-1.0": "odbl",
    "gpl": "gpl-3.0",
    "agpl": "agpl-3.0",
    "lgpl": "lgpl-3.0",
    "llama4.0": "llama4",
    "own-data": "own",
    "own-work": "own",
    "mistral-ai-research": "mrl",
    "mistral-ai-non-production": "mnpl",
}
KNOWN: Mapping[str, Licence] = _table()
