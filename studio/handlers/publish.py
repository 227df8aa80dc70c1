"""The page that leads a trained expert to the market: check, listing, review, publication."""

from dataclasses import dataclass

from apps import cards
from engine.accounts.schemas import Person
from engine.flows import publish_expert as flow
from engine.flows import test_expert
from engine.jobs.schemas import JobView
from engine.kit.errors import BadInput, NotFound
from engine.kit.messages import t
from engine.kit.money import format_credits, parse_credits
from engine.market.schemas import CATEGORIES, ExpertView
from engine.market.states import EDITABLE
from studio.handlers import bases
from studio.views import experts as views

PAGE = "publish"
STEPS = {"publish": flow.publish, "withdraw": flow.withdraw, "retire": flow.retire}
ALLOWED = {
    "trained": ("test",),
    "testing": (),
    "tested": ("submit", "test"),
    "rejected": ("test",),
    "pending_review": ("withdraw",),
    "approved": ("publish", "withdraw"),
    "published": ("retire",),
    "suspended": (),
    "retired": ("withdraw",),
}
"""What the owner can do in each state; the first one is what comes next."""


@dataclass(frozen=True)
class Listing:
    """What the form is filled with; tags are one line, prices are credits as text."""

    title: str
    description: str
    category: str
    tags: str
    input_price: str
    output_price: str
    example: str


@dataclass(frozen=True)
class Detail:
    """One of one's own experts as the page shows it."""

    expert: ExpertView
    head: str
    job: JobView | None
    actions: tuple[str, ...]
    editable: bool
    report: str
    listing: str
    history: str


def listing(person: Person, language: str) -> str:
    """Return the table of the tenant's experts, or what stands there before the first."""
    return views.table(flow.mine(person), language, PAGE, t("studio.no_experts", language))


def categories(language: str) -> list[tuple[str, str]]:
    """Return the categories to choose from as (words, value)."""
    return [(t(f"market.category_{name}", language), name) for name in CATEGORIES]


def own(person: Person, expert_id: str) -> ExpertView:
    """Return an expert of one's own tenant. Raises NotFound, also for what only the market shows."""
    found = flow.expert(person, expert_id)
    if found.tenant_id != person.tenant_id:
        raise NotFound("market.unknown_expert", id=expert_id[:40])
    return found


def detail(person: Person, expert_id: str, language: str) -> Detail:
    """Return an expert with what its owner can do next. Raises NotFound."""
    expert = own(person, expert_id)
    job = test_expert.latest_job(person, expert_id)
    actions = ALLOWED[expert.state]
    if expert.state == "testing" and (job is None or job.finished):
        actions = ("test",)
    editable = expert.state in EDITABLE
    shown = "" if editable else views.listing(expert, language)
    if expert.state == "published":
        shown += views.market_link(expert, language)
    return Detail(
        expert=expert,
        head=views.head(expert, "", language, PAGE) + bases.ways(person, expert.knowledge_base_ids, language),
        # A check that has ended well is told by its report; one that broke off leaves the state behind.
        job=job if job and expert.state == "testing" and job.state != "cancelled" else None,
        actions=actions,
        editable=editable,
        report=views.report(expert, language),
        listing=shown,
        history=views.history(flow.told_history(person, expert_id), language),
    )


def form_of(expert: ExpertView) -> Listing:
    """Return the values that the listing form begins with."""
    return Listing(
        title=expert.title,
        description=expert.description,
        category=expert.category or CATEGORIES[0],
        tags=", ".join(expert.tags),
        input_price=_credits(expert.input_price_micro),
        output_price=_credits(expert.output_price_micro),
        example=expert.example,
    )


def _credits(micro: int) -> str:
    return format_credits(micro).replace(",", "")


def test(person: Person, expert_id: str) -> JobView:
    """Start the quality check. Raises Conflict in a state that does not allow it."""
    return test_expert.start(person, expert_id)


def save(person: Person, expert_id: str, given: Listing) -> ExpertView:
    """Write the listing. Raises BadInput naming the field at fault."""
    tags = [tag.strip() for tag in (given.tags or "").replace("，", ",").split(",")]
    return flow.describe(
        person,
        expert_id,
        title=given.title or "",
        description=given.description or "",
        category=given.category or "",
        tags=[tag for tag in tags if tag],
        input_price=given.input_price or "",
        output_price=given.output_price or "",
        example=given.example or "",
    )


def submit(person: Person, expert_id: str, given: Listing) -> ExpertView:
    """Write the listing and hand the expert to the reviewers."""
    save(person, expert_id, given)
    return flow.submit(person, expert_id)


def step(person: Person, expert_id: str, what: str) -> ExpertView:
    """Publish, take back or take down. Raises Conflict or Forbidden."""
    return STEPS[what](person, expert_id)


def typical_call(input_price: str, output_price: str, language: str) -> str:
    """Return what a typical call would earn at prices as typed, as HTML; what is no price yet says so."""
    try:
        prices = (parse_credits(input_price or "0"), parse_credits(output_price or "0"))
    except BadInput as error:
        return cards.note(error.message(language), "bad")
    return cards.note(views.earning(*prices, language))
