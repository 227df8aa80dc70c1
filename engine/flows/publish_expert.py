"""From a tested expert to one that anybody can call: listing, review, publication."""

from engine.accounts import service as accounts
from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.flows import roll_out, set_prices
from engine.flows.call_rounds import listings
from engine.kit.database import unit_of_work
from engine.market import service as market
from engine.market.schemas import ExpertView, StateChange


def describe(
    person: Person,
    expert_id: str,
    *,
    title: str,
    description: str,
    category: str,
    tags: list[str],
    input_price: str,
    output_price: str,
    example: str,
) -> ExpertView:
    """Write the listing: prices are credits per 1,000 tokens. Raises BadInput naming the field."""
    require(person, "developer")
    with unit_of_work() as uow:
        return market.describe(
            uow,
            expert_id,
            tenant_id=person.tenant_id,
            title=title,
            description=description,
            category=category,
            tags=tags,
            input_price=input_price,
            output_price=output_price,
            example=example,
        )


def _change(person: Person, expert_id: str, to: str, reason: str) -> ExpertView:
    with unit_of_work() as uow:
        market.lock(uow, market.get(uow, expert_id, viewer=person).name)
        changed = market.change_state(uow, expert_id, to, by=person, reason=reason)
        if to == "published":
            set_prices.follow_listing(uow, changed)
        roll_out.follow(uow, changed)
    listings.forget()
    return changed


def submit(person: Person, expert_id: str) -> ExpertView:
    """Hand a tested and described expert to the reviewers."""
    require(person, "developer")
    return _change(person, expert_id, "pending_review", "Submitted for review")


def withdraw(person: Person, expert_id: str) -> ExpertView:
    """Take an expert back to tested: from the reviewers, before publishing, or after taking it down."""
    require(person, "developer")
    return _change(person, expert_id, "tested", "")


def retire(person: Person, expert_id: str) -> ExpertView:
    """Take one's own published expert off the market."""
    require(person, "developer")
    return _change(person, expert_id, "retired", "")


def review(person: Person, expert_id: str, *, approve: bool, reason: str) -> ExpertView:
    """Approve or reject a submitted expert; a rejection needs a reason."""
    require(person, "reviewer")
    return _change(person, expert_id, "approved" if approve else "rejected", reason)


def publish(person: Person, expert_id: str) -> ExpertView:
    """Put an approved expert on the market."""
    require(person, "developer")
    return _change(person, expert_id, "published", "Published")


def suspend(person: Person, expert_id: str, reason: str) -> ExpertView:
    """Take a published expert off the market."""
    require(person, "reviewer")
    return _change(person, expert_id, "suspended", reason)


def restore(person: Person, expert_id: str, reason: str) -> ExpertView:
    """Put a suspended expert back."""
    require(person, "reviewer")
    return _change(person, expert_id, "published", reason)


def expert(person: Person, expert_id: str) -> ExpertView:
    """Return an expert that the person may see. Raises NotFound."""
    with unit_of_work() as uow:
        return market.get(uow, expert_id, viewer=person)


def mine(person: Person) -> list[ExpertView]:
    """Return the experts of the person's tenant, newest first."""
    require(person, "developer")
    with unit_of_work() as uow:
        return market.mine(uow, person.tenant_id)


def queue(person: Person) -> list[ExpertView]:
    """Return what waits for a reviewer."""
    require(person, "reviewer")
    with unit_of_work() as uow:
        return market.review_queue(uow)


def history(person: Person, expert_id: str) -> list[StateChange]:
    """Return every change of state of an expert that the person may see."""
    with unit_of_work() as uow:
        return market.history(uow, expert_id, viewer=person)


def told_history(person: Person, expert_id: str) -> list[tuple[StateChange, str]]:
    """Return what `history` returns, each step with the name of who did it ("" for the platform)."""
    with unit_of_work() as uow:
        changes = market.history(uow, expert_id, viewer=person)
        names = accounts.names(uow, [change.by_id for change in changes])
    return [(change, names.get(change.by_id, "")) for change in changes]
