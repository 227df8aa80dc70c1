"""What a developer looks at before pricing an expert: its price, its usual call, its packages."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.analytics import service as analytics
from engine.billing import packages, prices
from engine.billing.schemas import OfferedPackage, Price
from engine.kit.database import unit_of_work
from engine.market import service as market
from engine.market.schemas import ExpertView


@dataclass(frozen=True, kw_only=True)
class Priced:
    """A published expert of one's own; versions of its price, newest first; its usual tokens in and out."""

    expert: ExpertView
    versions: Sequence[Price]
    usual: tuple[int, int]
    packages: Sequence[OfferedPackage]


def published(person: Person) -> list[ExpertView]:
    """Return the tenant's experts that are on the market. Raises Forbidden for others than developers."""
    require(person, "developer")
    with unit_of_work() as uow:
        return [one for one in market.mine(uow, person.tenant_id) if one.state == "published"]


def priced(person: Person, name: str) -> Priced:
    """Return what one of the tenant's published experts costs. Raises NotFound for others."""
    require(person, "developer")
    with unit_of_work() as uow:
        expert = market.own_published(uow, name, tenant_id=person.tenant_id)
        return Priced(
            expert=expert,
            versions=prices.versions(uow, expert.name),
            usual=analytics.usual_tokens(uow, expert.id),
            packages=packages.of_owner(uow, expert.name, person.tenant_id),
        )
