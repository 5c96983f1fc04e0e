"""Flavors: kinds of resources, their labels, and what they cost."""

from __future__ import annotations

from collections.abc import Collection

from gyre_kit.db import Session
from gyre_kit.errors import Invalid
from gyre_kit.resources import EtagMismatch

from services.gpu_scheduler.cards import CardReading, catalogue
from services.gpu_scheduler.cluster_queues import FieldImmutable
from services.gpu_scheduler.hardware import CPU_FLAVOR
from services.gpu_scheduler.models import Flavor
from services.gpu_scheduler.quota import FlavorNotFound
from services.gpu_scheduler.settings import Settings

UPDATABLE = ("display_name", "cpu_hour_microusd", "gpu_hour_microusd")
MOST_MICROUSD = 10**12  # a million dollars an hour
OPERATOR, SETTING, CATALOGUE, DEFAULT = "OPERATOR", "SETTING", "CATALOGUE", "DEFAULT"


class BadFlavorPrice(Invalid):
    """A price is 0 or more, and at most a million dollars an hour."""


async def ensure(session: Session, slug: str, card: CardReading | None, settings: Settings) -> None:
    """The flavor is there, with the labels of its `card` and the price that holds now. Attempts keep their own."""
    flavor = await session.get(Flavor, f"flavors/{slug}")
    if flavor is None:
        flavor = Flavor(name=f"flavors/{slug}", display_name=slug)
        session.add(flavor)
    flavor.node_labels = {"gyre.dev/flavor": slug} | (_labels(card) if card else {})
    if "cpu_hour_microusd" not in flavor.set_by_operator:
        flavor.cpu_hour_microusd = settings.cpu_hour_microusd
    if "gpu_hour_microusd" not in flavor.set_by_operator:
        flavor.gpu_hour_microusd, flavor.price_source = price_of(slug, card, settings)
    await session.flush()


def price_of(slug: str, card: CardReading | None, settings: Settings) -> tuple[int, str]:
    """Millionths of a US dollar for a card for an hour, and where that is from: a setting that was given, else the
    table of cards, else the setting's default."""
    if slug == CPU_FLAVOR:
        return 0, DEFAULT
    if "gpu_hour_microusd" in settings.model_fields_set:
        return settings.gpu_hour_microusd, SETTING
    model = catalogue.find(card.model) if card and not card.simulated else None
    if model is not None and model.hour_microusd is not None:
        return model.hour_microusd, CATALOGUE
    return settings.gpu_hour_microusd, DEFAULT


async def update(
    session: Session, name: str, fields: Collection[str], *, etag: str = "", display_name: str = "",
    cpu_hour_microusd: int = 0, gpu_hour_microusd: int = 0,
) -> Flavor:  # fmt: skip
    """Changes `fields` and nothing else. Raises: FlavorNotFound; EtagMismatch; FieldImmutable; BadFlavorPrice."""
    prices = {"cpu_hour_microusd": cpu_hour_microusd, "gpu_hour_microusd": gpu_hour_microusd}
    for field in fields:
        if field not in UPDATABLE:
            raise FieldImmutable(field=field, changeable="|".join(UPDATABLE))
        if field in prices and not 0 <= prices[field] <= MOST_MICROUSD:
            raise BadFlavorPrice(field=field, given=prices[field])
    flavor = await session.get(Flavor, name, with_for_update=True, populate_existing=True)
    if flavor is None:
        raise FlavorNotFound(name=name)
    if etag and etag != str(flavor.revision):
        raise EtagMismatch(name=name, given=etag, current=str(flavor.revision))
    if "display_name" in fields:
        flavor.display_name = display_name
    for field in set(fields) & set(prices):
        setattr(flavor, field, prices[field])
    flavor.set_by_operator = sorted({*flavor.set_by_operator, *(set(fields) & set(prices))})
    if "gpu_hour_microusd" in fields:
        flavor.price_source = OPERATOR
    flavor.revision += 1
    await session.flush()
    return flavor


def _labels(card: CardReading) -> dict[str, str]:
    """What a selector may ask for. A card that is not in the table has what its driver says."""
    known = None if card.simulated else catalogue.find(card.model)
    return {
        "gyre.dev/card-model": known.slug if known else "unknown",
        "gyre.dev/card-maker": card.maker or "simulated",
        "gyre.dev/card-memory-gib": str(round(card.memory_bytes / catalogue.GIB)),
    }
