"""What the market's pages show and do with packages, without Gradio, for the person who asks."""

from dataclasses import dataclass

from apps.market import package_views as views
from engine.accounts.schemas import Person
from engine.flows import buy_packages as flow
from engine.kit.errors import NotFound


def shop(person: Person, name: str, language: str) -> str:
    """Return the packages of a published expert; nothing where none is offered. Raises NotFound."""
    return views.shop(flow.shop(name), flow.mine(person), language)


@dataclass(frozen=True)
class Question:
    """Whether to buy a package, and the words of the button that does."""

    html: str
    button: str


def question(person: Person, name: str, package_id: str, language: str) -> Question:
    """Return what buying a package of an expert means. Raises NotFound for one that is not offered there."""
    found = flow.shop(name)
    for package in found.packages:
        if package.id == package_id:
            price = views.credits(package.price_micro, language)
            return Question(
                html=views.question(package, found.expert, language),
                button=views.t("packages.buy_yes", language, price=price),
            )
    raise NotFound("packages.unknown", id=package_id[:40])


def buy(person: Person, package_id: str, key: str, language: str) -> str:
    """Buy a package and say so. Raises what the flow refuses."""
    return views.bought(flow.buy(person, package_id, key), language)


def mine(person: Person, language: str) -> str:
    """Return what the person's account has bought."""
    return views.mine(flow.mine(person), language)


def cancel_question(person: Person, subscription_id: str, language: str) -> str:
    """Return what cancelling a package does. Raises NotFound for one that cannot be cancelled."""
    for one in flow.mine(person):
        if one.id == subscription_id and one.state in ("active", "unpaid"):
            return views.cancel_question(one, language)
    raise NotFound("packages.no_subscription", id=subscription_id[:40])


def cancel(person: Person, subscription_id: str, language: str) -> str:
    """Cancel a package and say so. Raises NotFound."""
    return views.cancelled(flow.cancel(person, subscription_id), language)
