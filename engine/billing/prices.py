"""What a call costs: versions of prices, and the arithmetic over one of them."""

from collections.abc import Collection, Sequence

from sqlalchemy.orm import Session

from engine.billing import repository
from engine.billing.models import PriceRow
from engine.billing.schemas import Price, Tier
from engine.kit.clock import now
from engine.kit.errors import BadInput
from engine.kit.ids import new_id
from engine.kit.money import CREDIT, format_credits, token_price

LIMIT = 1_000 * CREDIT
MOST_TIERS = 8


def set_price(
    uow: Session,
    *,
    subject: str,
    input_micro: int,
    output_micro: int,
    call_micro: int = 0,
    minimum_micro: int = 0,
    tiers: Sequence[Tier] = (),
    by_id: str,
) -> Price:
    """Give a subject a price from now on; calls that have begun keep theirs. The same price makes no version.

    The caller sees to it that one subject's prices are set one at a time. Raises BadInput naming the field:
    an amount below zero or above 1,000 credits, tiers that do not go up from one to the next.
    """
    amounts = [
        ("input_price", input_micro),
        ("output_price", output_micro),
        ("call_price", call_micro),
        ("minimum", minimum_micro),
        *(("tiers.input_price", tier.input_micro) for tier in tiers),
        *(("tiers.output_price", tier.output_micro) for tier in tiers),
    ]
    for name, amount in amounts:
        _check(name, amount)
    starts = [tier.from_tokens for tier in tiers]
    if len(starts) > MOST_TIERS or starts != sorted(set(starts)):
        raise BadInput("billing.bad_tiers", field="tiers", most=MOST_TIERS)
    before = repository.current_prices(uow, [subject]).get(subject)
    row = PriceRow(
        id=new_id("pri"),
        subject=subject,
        number=before.number + 1 if before else 1,
        input_micro=input_micro,
        output_micro=output_micro,
        call_micro=call_micro,
        minimum_micro=minimum_micro,
        tiers=[tier.model_dump() for tier in tiers],
        by_id=by_id,
        created_at=now(),
    )
    if before is not None and _same(before, row):
        return Price.model_validate(before)
    repository.add_price(uow, row)
    return Price.model_validate(row)


def first(uow: Session, *, subject: str, input_micro: int, output_micro: int, by_id: str) -> Price:
    """Return the price of a subject, which becomes this one if it has none."""
    if subject not in repository.current_prices(uow, [subject]):
        row = {
            "id": new_id("pri"),
            "subject": subject,
            "number": 1,
            "input_micro": input_micro,
            "output_micro": output_micro,
            "call_micro": 0,
            "minimum_micro": 0,
            "tiers": [],
            "by_id": by_id,
            "created_at": now(),
        }
        repository.add_first_price(uow, row)
    return current(uow, [subject])[subject]


def _check(name: str, amount: int) -> None:
    if not 0 <= amount <= LIMIT:
        raise BadInput("billing.bad_price", field=name, most=format_credits(LIMIT, 0))


def _same(one: PriceRow, other: PriceRow) -> bool:
    fields = ("input_micro", "output_micro", "call_micro", "minimum_micro", "tiers")
    return all(getattr(one, name) == getattr(other, name) for name in fields)


def current(uow: Session, subjects: Collection[str]) -> dict[str, Price]:
    """Return the price of each subject that has one."""
    found = repository.current_prices(uow, subjects)
    return {subject: Price.model_validate(row) for subject, row in found.items()}


def versions(uow: Session, subject: str) -> list[Price]:
    """Return every version of a price, newest first."""
    return [Price.model_validate(row) for row in repository.prices(uow, subject)]


def rate(price: Price, used_before: int) -> tuple[int, int]:
    """Return micro-credits per 1,000 tokens in and out for a tenant that used so many tokens last month."""
    reached = [tier for tier in price.tiers if tier.from_tokens <= used_before]
    best = reached[-1] if reached else price
    return best.input_micro, best.output_micro


def cost(price: Price, input_tokens: int, output_tokens: int, used_before: int = 0) -> int:
    """Return what a call costs: its tokens and the price per call, or the minimum if that is more.

    A started micro-credit counts as a whole one.
    """
    by_tokens = token_price(input_tokens, output_tokens, *rate(price, used_before))
    return max(price.minimum_micro, by_tokens + price.call_micro)
