"""Packages: so many tokens of an expert for so much a month. Offered by its developer, bought by anybody."""

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from apps.gateway.identity import Caller
from apps.gateway.replies import HeaderKey, either
from engine.billing.schemas import Package, Subscription
from engine.flows import buy_packages, sell_packages

router = APIRouter(prefix="/api", tags=["packages"])


class PackageGiven(BaseModel):
    """A package to offer: its name, tokens a month, in and out together, and credits a month."""

    model_config = ConfigDict(extra="forbid")

    title: str = Field(max_length=200)
    tokens: int
    price: str


class Offered(Package):
    """My own package, and how many tenants have it now."""

    subscribers: int


class Purchase(BaseModel):
    """Which package; repeating a `key`, or the header Idempotency-Key, buys nothing again."""

    package_id: str
    key: str | None = Field(None, min_length=1, max_length=100)


@router.post("/market/packages/{name}")
def offer(name: str, given: PackageGiven, caller: Caller) -> Package:
    """Offer a package of my published expert. It is never changed: withdraw it and offer another."""
    return sell_packages.offer(caller, name, title=given.title, tokens=given.tokens, price=given.price)


@router.get("/market/packages/{name}")
def mine(name: str, caller: Caller) -> list[Offered]:
    """List the packages of my expert, also the withdrawn, with their subscribers."""
    found = sell_packages.listing(caller, name)
    return [Offered(**one.package.model_dump(), subscribers=one.subscribers) for one in found]


@router.delete("/market/packages/{name}/{package_id}")
def withdraw(name: str, package_id: str, caller: Caller) -> Package:
    """Sell a package no more; who has bought it keeps it to the end of the month."""
    return sell_packages.withdraw(caller, name, package_id)


@router.get("/packages/offered/{name}")
def offered(name: str, _caller: Caller) -> list[Package]:
    """List the packages of a published expert, the smallest first."""
    return buy_packages.offered(name)


@router.get("/packages")
def bought(caller: Caller) -> list[Subscription]:
    """List what my tenant has bought, newest first."""
    return buy_packages.mine(caller)


@router.post("/packages")
def buy(given: Purchase, caller: Caller, header: HeaderKey) -> Subscription:
    """Buy a package for a month from now on. It goes on by itself until it is cancelled."""
    return buy_packages.buy(caller, given.package_id, either(given.key, header))


@router.post("/packages/{subscription_id}/cancel")
def cancel(subscription_id: str, caller: Caller) -> Subscription:
    """Buy no further month; what is paid for lasts to its end, and nothing is given back."""
    return buy_packages.cancel(caller, subscription_id)
