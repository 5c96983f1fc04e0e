from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.model_registry.licences import KNOWN, Policy, Stated, Term, find, inherit, refusals

THINGS = [f"t{number}" for number in range(8)]
LICENCES = ["", "Apache-2.0", "CC-BY-NC-4.0", "CC-BY-SA-4.0", "llama3", "gemma", "own", "house rules"]


@st.composite
def ancestries(draw: st.DrawFn) -> tuple[dict[str, list[str]], dict[str, Stated]]:
    """What was made of what, loops included, and what is stated of each."""
    parents = {thing: draw(st.lists(st.sampled_from(THINGS), max_size=3)) for thing in THINGS}
    stated = {thing: Stated(draw(st.sampled_from(LICENCES)), draw(st.booleans())) for thing in THINGS}
    return parents, stated


def ancestors(name: str, parents: dict[str, list[str]]) -> set[str]:
    found = {name}
    while new := {up for each in found for up in parents[each]} - found:
        found |= new
    return found


@given(ancestries())
def test_no_term_is_lost_on_the_way_down_and_none_is_made_up(
    given: tuple[dict[str, list[str]], dict[str, Stated]],
) -> None:
    parents, stated = given
    for name in THINGS:
        expected = {
            (term, each)
            for each in ancestors(name, parents)
            if (licence := find(stated[each].licence)) is not None
            for term in licence.terms
        }
        terms = inherit(name, parents, stated).terms
        assert {(each.term, each.because_of) for each in terms} == expected
        assert len(terms) == len(expected)


@given(ancestries())
def test_whoever_was_made_of_it_stands_under_all_that_it_stands_under(
    given: tuple[dict[str, list[str]], dict[str, Stated]],
) -> None:
    parents, stated = given
    for child in THINGS:
        below = inherit(child, parents, stated)
        for parent in parents[child]:
            above = inherit(parent, parents, stated)
            assert set(above.terms) <= set(below.terms)
            assert set(above.unknown) <= set(below.unknown)


@given(ancestries(), st.sets(st.sampled_from(list(Term))), st.booleans())
def test_a_policy_that_refuses_a_thing_refuses_its_descendants(
    given: tuple[dict[str, list[str]], dict[str, Stated]], terms: set[Term], unknown: bool
) -> None:
    parents, stated = given
    policy = Policy(terms, unknown)
    for child in THINGS:
        against = set(refusals(inherit(child, parents, stated), policy))
        for parent in parents[child]:
            assert set(refusals(inherit(parent, parents, stated), policy)) <= against


@given(ancestries())
def test_nothing_that_needs_a_licence_and_has_none_that_we_know_goes_unsaid(
    given: tuple[dict[str, list[str]], dict[str, Stated]],
) -> None:
    parents, stated = given
    for name in THINGS:
        expected = {
            each
            for each in ancestors(name, parents)
            if find(stated[each].licence) is None and (stated[each].licence or stated[each].needs_one)
        }
        assert {each for each, _ in inherit(name, parents, stated).unknown} == expected


@pytest.mark.parametrize(
    ("stated", "terms"),
    [
        ("CC BY-NC 4.0", "ATTRIBUTION NON_COMMERCIAL"),
        ("cc-by-nc-sa-4.0", "ATTRIBUTION NON_COMMERCIAL SHARE_ALIKE"),
        ("Apache License 2.0", "ATTRIBUTION"),
        ("CC0-1.0", ""),
        ("GPL-3.0-or-later WITH Classpath-exception-2.0", "ATTRIBUTION SHARE_ALIKE"),
        ("Meta Llama 3 Community License Agreement", "ATTRIBUTION FIELD_OF_USE NAMING NO_TRAINING_OF_RIVALS"),
        ("Llama 3.1 Community License", "ATTRIBUTION FIELD_OF_USE NAMING"),
        ("Gemma", "ATTRIBUTION FIELD_OF_USE"),
        ("GPL-3.0 OR MIT", "ATTRIBUTION"),
        ("MIT AND CC-BY-NC-4.0", "ATTRIBUTION NON_COMMERCIAL"),
    ],
)
def test_a_licence_is_known_however_it_is_spelt(stated: str, terms: str) -> None:
    licence = find(stated)
    assert licence is not None
    assert licence.terms == set(terms.split())


@pytest.mark.parametrize("stated", ["", "other", "house rules", "MIT AND house rules"])
def test_what_nobody_knows_is_not_guessed(stated: str) -> None:
    assert find(stated) is None


def test_every_term_of_every_licence_says_what_it_means() -> None:
    assert all(licence.summary(term) for licence in KNOWN.values() for term in licence.terms)
