"""The market: the catalog, and an expert's way onto it."""

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from apps.gateway.identity import Caller
from engine.billing.schemas import Price, Tier
from engine.flows import browse_market, degraded_answers, publish_expert, set_prices, test_expert
from engine.jobs.schemas import JobView
from engine.kit.money import parse_credits
from engine.market.schemas import ExpertView, StateChange
from engine.serving.schemas import Degraded

router = APIRouter(prefix="/api/market", tags=["market"])


class Listing(BaseModel):
    """How an expert is shown and what it costs, in credits per 1,000 tokens."""

    title: str
    description: str
    category: str
    tags: list[str] = Field(default_factory=list)
    input_price: str
    output_price: str
    example: str


class TierGiven(BaseModel):
    """Prices for those who used at least so many tokens in the calendar month before."""

    from_tokens: int = Field(ge=1)
    input_price: str
    output_price: str


class Terms(BaseModel):
    """What an expert costs, in credits: per 1,000 tokens in and out, per call, and the least of a call."""

    model_config = ConfigDict(extra="forbid")

    input_price: str
    output_price: str
    call_price: str = "0"
    minimum: str = "0"
    tiers: list[TierGiven] = Field(default_factory=list, max_length=8)

    def terms(self) -> set_prices.Terms:
        """Return the price in micro-credits. Raises BadInput naming the field."""
        return set_prices.Terms(
            input_micro=parse_credits(self.input_price, "input_price"),
            output_micro=parse_credits(self.output_price, "output_price"),
            call_micro=parse_credits(self.call_price, "call_price"),
            minimum_micro=parse_credits(self.minimum, "minimum"),
            tiers=tuple(
                Tier(
                    from_tokens=tier.from_tokens,
                    input_micro=parse_credits(tier.input_price, "tiers.input_price"),
                    output_micro=parse_credits(tier.output_price, "tiers.output_price"),
                )
                for tier in self.tiers
            ),
        )


class Decision(BaseModel):
    """A reviewer's decision."""

    approve: bool
    reason: str


class Reason(BaseModel):
    """Why something is done."""

    reason: str


class Instead(BaseModel):
    """What callers get when no model server answers, 1 to 2,000 characters."""

    text: str


@router.get("/experts")
def catalog(
    _caller: Caller, search: str = "", category: str | None = None, sort: str = "popular"
) -> list[ExpertView]:
    """List the published experts."""
    return browse_market.catalog(search, category, sort)


@router.get("/mine")
def mine(caller: Caller) -> list[ExpertView]:
    """List my tenant's experts in every state."""
    return publish_expert.mine(caller)


@router.get("/reviews")
def reviews(caller: Caller) -> list[ExpertView]:
    """List what waits for a reviewer."""
    return publish_expert.queue(caller)


@router.get("/experts/{expert_id}/history")
def history(expert_id: str, caller: Caller) -> list[StateChange]:
    """Return who changed the state of an expert, when and why."""
    return publish_expert.history(caller, expert_id)


@router.post("/experts/{expert_id}/test", status_code=202)
def test(expert_id: str, caller: Caller) -> JobView:
    """Start the quality test."""
    return test_expert.start(caller, expert_id)


@router.put("/experts/{expert_id}/listing")
def describe(expert_id: str, given: Listing, caller: Caller) -> ExpertView:
    """Write the listing."""
    return publish_expert.describe(caller, expert_id, **given.model_dump())


@router.post("/experts/{expert_id}/submit")
def submit(expert_id: str, caller: Caller) -> ExpertView:
    """Hand in for review."""
    return publish_expert.submit(caller, expert_id)


@router.post("/experts/{expert_id}/review")
def review(expert_id: str, given: Decision, caller: Caller) -> ExpertView:
    """Approve or reject."""
    return publish_expert.review(caller, expert_id, approve=given.approve, reason=given.reason)


@router.post("/experts/{expert_id}/publish")
def publish(expert_id: str, caller: Caller) -> ExpertView:
    """Put an approved expert on the market."""
    return publish_expert.publish(caller, expert_id)


@router.get("/prices/{name}")
def price_versions(name: str, _caller: Caller) -> list[Price]:
    """List every version of an expert's price, newest first."""
    return set_prices.versions(name)


@router.put("/prices/{name}")
def set_price(name: str, given: Terms, caller: Caller) -> Price:
    """Give my expert another price from now on; calls that have begun keep theirs."""
    return set_prices.change(caller, name, given.terms())


@router.get("/experts/{name}/degraded")
def degraded(name: str, caller: Caller) -> Degraded:
    """Return the text that stands in for my expert's answers when no model server answers."""
    return degraded_answers.find(caller, name)


@router.put("/experts/{name}/degraded")
def declare_degraded(name: str, given: Instead, caller: Caller) -> Degraded:
    """Have callers of my expert get this text, marked X-Degraded and not charged, when no server answers."""
    return degraded_answers.declare(caller, name, given.text)


@router.delete("/experts/{name}/degraded", status_code=204)
def remove_degraded(name: str, caller: Caller) -> None:
    """Have callers of my expert get an error again."""
    degraded_answers.remove(caller, name)


@router.post("/experts/{expert_id}/suspend")
def suspend(expert_id: str, given: Reason, caller: Caller) -> ExpertView:
    """Take an expert off the market."""
    return publish_expert.suspend(caller, expert_id, given.reason)


@router.post("/experts/{expert_id}/restore")
def restore(expert_id: str, given: Reason, caller: Caller) -> ExpertView:
    """Put a suspended expert back."""
    return publish_expert.restore(caller, expert_id, given.reason)
