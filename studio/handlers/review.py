"""The reviewers' page: what waits, what is on the market, and the decision with its reason."""

from dataclasses import dataclass

from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.flows import browse_market
from engine.flows import publish_expert as flow
from engine.kit.messages import t
from engine.market.schemas import ExpertView
from studio.views import experts as views

PAGE = "review"
DECISIONS = {"pending_review": ("approve", "reject"), "published": ("suspend",), "suspended": ("restore",)}
"""What a reviewer can decide in each state."""


@dataclass(frozen=True)
class Detail:
    """An expert as a reviewer sees it."""

    expert: ExpertView
    head: str
    listing: str
    report: str
    history: str
    decisions: tuple[str, ...]


def queue(person: Person, language: str) -> str:
    """Return the table of what waits for a decision."""
    return views.table(flow.queue(person), language, PAGE, t("studio.queue_empty", language))


def published(person: Person, language: str) -> str:
    """Return the table of what is on the market."""
    require(person, "reviewer")
    return views.table(browse_market.catalog(), language, PAGE, t("studio.market_empty", language))


def detail(person: Person, expert_id: str, language: str) -> Detail:
    """Return everything that a decision needs. Raises NotFound, and Forbidden for others than reviewers."""
    require(person, "reviewer")
    expert = flow.expert(person, expert_id)
    return Detail(
        expert=expert,
        head=views.head(expert, browse_market.developer_name(expert), language, PAGE),
        listing=views.listing(expert, language, "developer"),
        report=views.report(expert, language),
        history=views.history(flow.told_history(person, expert_id), language),
        decisions=DECISIONS.get(expert.state, ()),
    )


def decide(person: Person, expert_id: str, decision: str, reason: str) -> ExpertView:
    """Carry a decision out. Raises BadInput without a needed reason, Forbidden for one's own expert."""
    reason = reason or ""
    if decision == "suspend":
        return flow.suspend(person, expert_id, reason)
    if decision == "restore":
        return flow.restore(person, expert_id, reason)
    return flow.review(person, expert_id, approve=decision == "approve", reason=reason)
