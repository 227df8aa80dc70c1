"""What an expert costs: versions of its price, and the listing that shows the newest."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.billing import prices
from engine.billing.schemas import Price, Tier
from engine.flows.call_rounds import listings
from engine.kit.database import unit_of_work
from engine.market import service as market
from engine.market.schemas import ExpertView


@dataclass(frozen=True, kw_only=True)
class Terms:
    """A price in micro-credits: per 1,000 tokens in and out, per call, the least of a call, and tiers."""

    input_micro: int
    output_micro: int
    call_micro: int = 0
    minimum_micro: int = 0
    tiers: Sequence[Tier] = ()


def change(person: Person, name: str, terms: Terms) -> Price:
    """Give the tenant's published expert another price from now on; calls that have begun keep theirs.

    Raises NotFound for another tenant's expert, BadInput naming the field at fault.
    """
    require(person, "developer")
    with unit_of_work() as uow:
        expert = market.reprice(
            uow,
            name,
            tenant_id=person.tenant_id,
            input_micro=terms.input_micro,
            output_micro=terms.output_micro,
        )
        price = prices.set_price(
            uow,
            subject=expert.name,
            input_micro=terms.input_micro,
            output_micro=terms.output_micro,
            call_micro=terms.call_micro,
            minimum_micro=terms.minimum_micro,
            tiers=terms.tiers,
            by_id=person.id,
        )
    listings.forget()
    return price


def follow_listing(uow: Session, expert: ExpertView) -> Price:
    """Give an expert that comes onto the market the price of its listing; what else its name costs stays."""
    before = prices.current(uow, [expert.name]).get(expert.name)
    return prices.set_price(
        uow,
        subject=expert.name,
        input_micro=expert.input_price_micro,
        output_micro=expert.output_price_micro,
        call_micro=before.call_micro if before else 0,
        minimum_micro=before.minimum_micro if before else 0,
        tiers=before.tiers if before else (),
        by_id=expert.owner_id,
    )


def versions(name: str) -> list[Price]:
    """Return every version of a published expert's price, newest first. Raises NotFound."""
    with unit_of_work() as uow:
        return prices.versions(uow, market.by_name(uow, name).name)
