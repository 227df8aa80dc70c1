"""The earnings page: what one's experts earned in all, by expert, and lately."""

from dataclasses import dataclass

import plotly.graph_objects as go

from engine.accounts.schemas import Person
from engine.flows import browse_market as flow
from engine.flows import pay_out
from engine.kit.errors import NotFound
from engine.kit.messages import t
from engine.kit.money import format_credits
from studio.views import earnings as views


@dataclass(frozen=True)
class Earnings:
    """The page's content; without earnings there is no chart and no tables."""

    head: str
    chart: go.Figure | None
    tables: str


def earnings(person: Person, language: str) -> Earnings:
    """Return what the tenant's experts have earned. Raises Forbidden for others than developers."""
    _, by_expert = flow.earnings(person)
    if not by_expert:
        return Earnings(head=views.nothing(language), chart=None, tables="")
    recent = flow.recent_earnings(person)
    return Earnings(
        head=views.head(by_expert, language),
        chart=views.chart(by_expert, language),
        tables=views.tables(by_expert, recent, language),
    )


@dataclass(frozen=True)
class Payouts:
    """What can be paid out, and the payouts; `least` is the smallest amount, as words."""

    html: str
    least: str
    possible: bool
    any: bool


def payouts(person: Person, language: str) -> Payouts:
    """Return the standing of the tenant's earnings. Raises Forbidden for others than developers."""
    now = pay_out.standing(person)
    return Payouts(
        html=views.payouts(now, language),
        least=format_credits(now.minimum_micro),
        possible=now.available_micro >= now.minimum_micro,
        any=bool(now.payouts) or now.available_micro != 0,
    )


def request(person: Person, amount: str, destination: str, key: str, language: str) -> str:
    """Ask for earnings and say so. Raises BadInput naming the field, InsufficientCredit."""
    asked = pay_out.request(person, amount or "", destination or "", key)
    return t("cash.payout_asked", language, amount=format_credits(asked.amount_micro))


def cancel_question(person: Person, payout_id: str, language: str) -> str:
    """Return what cancelling a request does. Raises NotFound for one that cannot be cancelled."""
    for payout in pay_out.standing(person).payouts:
        if payout.id == payout_id and payout.state == "requested":
            return views.cancel_question(payout, language)
    raise NotFound("cash.no_payout", id=payout_id[:40])


def cancel(person: Person, payout_id: str, language: str) -> str:
    """Take a request back and say so. Raises NotFound, Conflict."""
    done = pay_out.cancel(person, payout_id)
    return t("cash.payout_cancelled_done", language, amount=format_credits(done.amount_micro))
