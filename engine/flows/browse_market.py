"""Finding an expert, and paging through one's own standing."""

from engine.accounts import service as accounts
from engine.accounts.schemas import Person
from engine.billing import service as billing
from engine.billing.schemas import EntryView, ExpertEarnings
from engine.kit.database import unit_of_work
from engine.market import service as market
from engine.market.schemas import ExpertView


def catalog(search: str = "", category: str | None = None, sort: str = "popular") -> list[ExpertView]:
    """Return the published experts that match."""
    with unit_of_work() as uow:
        return market.catalog(uow, search=search, category=category, sort=sort)


def expert(name: str) -> ExpertView:
    """Return a published expert by its public name. Raises NotFound naming the near ones."""
    with unit_of_work() as uow:
        return market.by_name(uow, name)


def developer_name(expert: ExpertView) -> str:
    """Return who made an expert."""
    with unit_of_work() as uow:
        return accounts.names(uow, [expert.owner_id]).get(expert.owner_id, "")


def earnings(person: Person) -> tuple[int, list[ExpertEarnings]]:
    """Return what the tenant's experts earned in all, and by expert, in micro-credits."""
    accounts.require(person, "developer")
    with unit_of_work() as uow:
        return billing.earnings(uow, person.tenant_id), billing.earnings_by_expert(uow, person.tenant_id)


def recent_earnings(person: Person, limit: int = 20) -> list[EntryView]:
    """Return the last movements of the tenant's earnings, newest first."""
    accounts.require(person, "developer")
    with unit_of_work() as uow:
        return billing.entries(uow, person.tenant_id, limit, account="earnings")
