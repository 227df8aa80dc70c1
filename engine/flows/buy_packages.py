"""Packages of experts for those who call them: what is offered, bought, renewed and cancelled."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.accounts.schemas import Person
from engine.analytics import service as analytics
from engine.billing import packages, prices, subscriptions
from engine.billing.schemas import Package, Subscription
from engine.flows.call_allowances import allowances
from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.kit.logs import logger
from engine.kit.money import token_price
from engine.market import service as market
from engine.market.schemas import ExpertView

log = logger(__name__)


def offered(name: str) -> list[Package]:
    """Return the packages of a published expert, the smallest first. Raises NotFound."""
    with unit_of_work() as uow:
        return packages.offered(uow, market.by_name(uow, name).name)


@dataclass(frozen=True, kw_only=True)
class Shop:
    """An expert, its packages, the smallest first, and its usual call: tokens in and out, micro-credits."""

    expert: ExpertView
    packages: Sequence[Package]
    usual: tuple[int, int]
    call_micro: int

    def single_micro(self, package: Package) -> int:
        """Return what the tokens of a package cost in usual single calls; 0 where calls are free."""
        return self.call_micro * package.tokens // max(1, sum(self.usual))


def shop(name: str) -> Shop:
    """Return the packages of a published expert beside what single calls cost. Raises NotFound."""
    with unit_of_work() as uow:
        expert = market.by_name(uow, name)
        usual = analytics.usual_tokens(uow, expert.id)
        price = prices.current(uow, [expert.name]).get(expert.name)
        listed = token_price(*usual, expert.input_price_micro, expert.output_price_micro)
        return Shop(
            expert=expert,
            packages=packages.offered(uow, expert.name),
            usual=usual,
            call_micro=prices.cost(price, *usual) if price else listed,
        )


def buy(person: Person, package_id: str, key: str) -> Subscription:
    """Buy a package from the tenant's wallet; `key` makes a repeated click count once.

    Raises as `subscriptions.buy` does, and NotFound for an expert that is not on the market.
    """
    with unit_of_work() as uow:
        market.by_name(uow, packages.find(uow, package_id).subject)
        bought = subscriptions.buy(
            uow, package_id=package_id, tenant_id=person.tenant_id, person_id=person.id, key=key
        )
    allowances.forget()
    log.info("package bought", package=package_id, subscription=bought.id, tenant=person.tenant_id)
    return bought


def cancel(person: Person, subscription_id: str) -> Subscription:
    """Buy no further month of a package; what is paid for lasts to its end. Raises NotFound."""
    with unit_of_work() as uow:
        return subscriptions.cancel(uow, subscription_id, tenant_id=person.tenant_id)


def mine(person: Person) -> list[Subscription]:
    """Return what the tenant has bought, newest first."""
    with unit_of_work() as uow:
        return subscriptions.mine(uow, person.tenant_id)


def renew_due() -> int:
    """Renew or end what is due, each by itself; return how many. Any number of workers may do it at once."""
    at = now()
    with unit_of_work() as uow:
        due = subscriptions.due(uow, at)
        sold = set(market.by_names(uow, {subject for _, subject in due})) if due else set()
    done = 0
    for subscription_id, subject in due:
        try:
            with unit_of_work() as uow:
                state = subscriptions.renew(uow, subscription_id, at, sold=subject in sold)
        except Exception:
            log.exception("a package was not renewed", subscription=subscription_id)
            continue
        if state is not None:
            done += 1
            log.info("package looked at for its next month", subscription=subscription_id, state=state)
    return done
