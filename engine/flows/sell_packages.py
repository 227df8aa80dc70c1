"""Packages of one's own published experts: offered, withdrawn, and looked at."""

from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.billing import packages
from engine.billing.schemas import OfferedPackage, Package
from engine.kit.database import unit_of_work
from engine.kit.errors import NotFound
from engine.kit.money import parse_credits
from engine.market import service as market


def offer(person: Person, name: str, *, title: str, tokens: int, price: str) -> Package:
    """Offer so many tokens of the tenant's published expert a month, for a price in credits.

    Raises NotFound for another tenant's expert, BadInput naming `title`, `tokens` or `price`.
    """
    require(person, "developer")
    price_micro = parse_credits(price, "price")
    with unit_of_work() as uow:
        # Alone until the end, so that what is offered is counted right.
        expert = market.own_published(uow, name, tenant_id=person.tenant_id)
        return packages.offer(
            uow,
            subject=expert.name,
            tenant_id=person.tenant_id,
            title=title,
            tokens=tokens,
            price_micro=price_micro,
            by_id=person.id,
        )


def withdraw(person: Person, name: str, package_id: str) -> Package:
    """Sell a package no more; who has bought it keeps it to the end of the month. Raises NotFound."""
    require(person, "developer")
    with unit_of_work() as uow:
        return packages.withdraw(uow, package_id, subject=name, tenant_id=person.tenant_id)


def listing(person: Person, name: str) -> list[OfferedPackage]:
    """Return the tenant's packages for an expert with their subscribers, those on offer first.

    Raises NotFound where the tenant has neither published the expert nor offered anything for it.
    """
    require(person, "developer")
    with unit_of_work() as uow:
        found = packages.of_owner(uow, name, person.tenant_id) if name.isprintable() else []
        if not found and market.by_name(uow, name).tenant_id != person.tenant_id:
            raise NotFound("market.unknown_expert", id=name[:40])
        return found
