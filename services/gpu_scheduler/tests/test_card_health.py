"""Cards that fail, go missing, come back or are others; and flavors with their labels and prices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from gyre_kit.db import Session
from gyre_kit.resources import EtagMismatch
from gyre_kit.testing import ManualClock

from services.gpu_scheduler import flavors, health, maintenance, nodes, service, store, store_nodes
from services.gpu_scheduler.cards import Finding
from services.gpu_scheduler.cluster_queues import FieldImmutable
from services.gpu_scheduler.launchers.base import Ended
from services.gpu_scheduler.models import Card, Flavor, Node
from services.gpu_scheduler.quota import FlavorNotFound
from services.gpu_scheduler.settings import Settings
from services.gpu_scheduler.tests.calls import cycle
from services.gpu_scheduler.tests.test_nodes import CARDS, MACHINE, XID, events_about, heard, node, stopped, working
from services.gpu_scheduler.tests.test_service import SETTINGS

__all__ = ["node"]  # a fixture


async def test_a_card_with_a_fault_is_taken_out_and_its_work_is_moved(session: Session, node: Node) -> None:
    workload = await working(session)
    await heard(session, replace(CARDS[0], findings=(XID,)), CARDS[1])
    card = await session.get_one(Card, "nodes/a/cards/0")
    assert (card.fault_code, node.gpu) == ("XID_79", 1)
    assert await events_about(session, card.name) == ["CardFailed"]
    assert await maintenance.move_work(session) == [workload.name]
    assert workload.stop_reason == "CARD_FAILED"
    await stopped(session, workload)
    assert (workload.state, workload.faults) == ("QUEUED", 0)
    await cycle(session)
    attempt = await store.attempt(session, workload.name, 2)
    assert attempt is not None
    assert attempt.card_uuids == ["GPU-1"]


async def test_work_that_its_card_killed_before_the_fault_was_seen_has_no_fault_counted(
    session: Session, clock: ManualClock, node: Node
) -> None:
    on_the_card, on_the_other = await working(session), await working(session)
    for workload in (on_the_card, on_the_other):
        attempt = await store.attempt(session, workload.name, 1)
        assert attempt is not None
        await service.attempt_ended(session, workload, attempt, Ended(1), SETTINGS)
    assert (on_the_card.faults, on_the_other.faults) == (1, 1)
    clock.advance(seconds=3)
    await heard(session, replace(CARDS[0], findings=(XID,)), CARDS[1])
    assert (on_the_card.faults, on_the_card.not_before) == (0, None)
    assert on_the_other.faults == 1


async def test_a_card_stays_out_until_an_operator_puts_it_back(session: Session, node: Node) -> None:
    await heard(session, replace(CARDS[0], findings=(XID,)), CARDS[1])
    card = await session.get_one(Card, "nodes/a/cards/0")
    await heard(session, *CARDS)
    assert (card.fault_code, node.gpu) == ("XID_79", 1)
    await health.reset(session, node, 0)
    await heard(session, *CARDS)
    assert (card.fault_code, node.gpu) == ("", 2)


async def test_what_an_operator_has_seen_is_not_held_against_a_card_again(session: Session, node: Node) -> None:
    sick = replace(CARDS[0], findings=(XID,))
    await heard(session, sick, CARDS[1])
    card = await health.reset(session, node, 0)
    await heard(session, sick, CARDS[1])
    assert card.fault_code == ""
    await heard(session, replace(CARDS[0], findings=(XID, replace(XID, key="XID_79:2"))), CARDS[1])
    assert card.fault_code == "XID_79"
    assert await events_about(session, card.name) == ["CardFailed", "CardFailed"]


async def test_only_a_sick_card_is_put_back(session: Session, node: Node) -> None:
    with pytest.raises(health.CardNotSick):
        await health.reset(session, node, 0)
    with pytest.raises(health.CardNotFound):
        await health.reset(session, node, 7)


async def test_a_warning_takes_nothing_out(session: Session, node: Node) -> None:
    await heard(
        session, replace(CARDS[0], findings=(Finding("THERMAL_SLOWDOWN", "It is hot.", fatal=False),)), CARDS[1]
    )
    card = await session.get_one(Card, "nodes/a/cards/0")
    assert (card.fault_code, card.warnings, node.gpu) == ("", ["It is hot."], 2)


async def test_a_card_that_is_not_found_takes_no_work_at_once_and_is_a_fault_after_three_looks(
    session: Session, node: Node
) -> None:
    workload = await working(session)
    card = await session.get_one(Card, "nodes/a/cards/0")
    for _ in range(2):
        await heard(session, CARDS[1])
        assert (card.present, card.fault_code, node.gpu) == (False, "", 1)
        assert await maintenance.move_work(session) == []
    await heard(session, CARDS[1])
    assert card.fault_code == "CARD_MISSING"
    assert await maintenance.move_work(session) == [workload.name]
    await heard(session, *CARDS)
    assert (card.present, card.fault_code, node.gpu) == (True, "CARD_MISSING", 1)
    await health.reset(session, node, 0)
    await heard(session, *CARDS)
    assert (card.fault_code, node.gpu) == ("", 2)


async def test_a_driver_that_stumbles_once_costs_nothing(session: Session, node: Node) -> None:
    workload = await working(session)
    await heard(session, flavor="cpu")
    assert (node.flavor, node.gpu) == ("flavors/h100", 0)
    await heard(session, *CARDS)
    assert await maintenance.move_work(session) == []
    assert (workload.state, node.gpu) == ("RUNNING", 2)


async def test_a_missing_card_that_was_taken_out_for_good_is_forgotten_by_a_reset(session: Session, node: Node) -> None:
    for _ in range(3):
        await heard(session, CARDS[1])
    card = await health.reset(session, node, 0)
    await heard(session, CARDS[1])
    assert (card.present, card.fault_code) == (False, "")


async def test_a_node_that_comes_back_with_other_cards_has_new_rows_and_moves_the_work_of_those_gone(
    session: Session, node: Node
) -> None:
    workload = await working(session)
    other = replace(CARDS[0], uuid="GPU-new")
    await heard(session, other, CARDS[1], boot_id="2")
    rows = {
        card.name: (card.uuid, card.present, card.fault_code) for card in await store_nodes.cards(session, ["nodes/a"])
    }
    assert rows == {
        "nodes/a/cards/0": ("GPU-0", False, ""),
        "nodes/a/cards/0.2": ("GPU-new", True, ""),
        "nodes/a/cards/1": ("GPU-1", True, ""),
    }
    assert await maintenance.move_work(session) == [workload.name]
    assert node.gpu == 2


async def test_a_card_that_moves_to_another_place_is_the_same_card(session: Session, node: Node) -> None:
    await heard(session, replace(CARDS[1], index=0), replace(CARDS[0], index=1), boot_id="2")
    places = {card.uuid: card.index for card in await store_nodes.cards(session, ["nodes/a"])}
    assert places == {"GPU-0": 1, "GPU-1": 0}


async def test_simulated_cards_that_were_turned_off_are_no_fault(session: Session) -> None:
    simulated = [replace(card, simulated=True, maker="") for card in CARDS]
    node = await heard(session, *simulated)
    for _ in range(4):
        await heard(session, simulated[0])
    assert [card.fault_code for card in await store_nodes.cards(session, ["nodes/a"])] == ["", ""]
    assert node.gpu == 1


async def test_a_flavor_has_the_labels_of_its_cards_and_the_price_of_the_table(session: Session, node: Node) -> None:
    flavor = await session.get_one(Flavor, "flavors/h100")
    assert (flavor.gpu_hour_microusd, flavor.price_source) == (2_990_000, "CATALOGUE")
    assert flavor.node_labels == {
        "gyre.dev/flavor": "h100",
        "gyre.dev/card-model": "nvidia-h100-sxm",
        "gyre.dev/card-maker": "nvidia",
        "gyre.dev/card-memory-gib": "80",
    }


async def test_a_setting_overrides_the_table_and_an_operator_overrides_both(session: Session) -> None:
    settings = Settings(home=Path("/nonexistent"), gpu_hour_microusd=1_000_000)
    await nodes.heard_of(session, MACHINE, settings)
    flavor = await session.get_one(Flavor, "flavors/h100")
    assert (flavor.gpu_hour_microusd, flavor.price_source) == (1_000_000, "SETTING")
    await flavors.update(session, flavor.name, ["gpu_hour_microusd"], gpu_hour_microusd=5)
    await nodes.heard_of(session, MACHINE, settings)
    assert (flavor.gpu_hour_microusd, flavor.price_source) == (5, "OPERATOR")


async def test_an_absurd_price_a_strange_field_and_an_unknown_flavor_are_refused(session: Session, node: Node) -> None:
    for price in (-1, 10**13):
        with pytest.raises(flavors.BadFlavorPrice):
            await flavors.update(session, "flavors/h100", ["gpu_hour_microusd"], gpu_hour_microusd=price)
    with pytest.raises(FieldImmutable):
        await flavors.update(session, "flavors/h100", ["node_labels"])
    with pytest.raises(FlavorNotFound):
        await flavors.update(session, "flavors/none", ["display_name"])
    with pytest.raises(EtagMismatch):
        await flavors.update(session, "flavors/h100", ["display_name"], etag="0")
