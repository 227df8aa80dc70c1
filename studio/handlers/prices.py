"""The prices page: what a published expert costs, what a call of it would, and its packages."""

from collections.abc import Sequence
from dataclasses import dataclass

from apps import cards
from engine.accounts.schemas import Person
from engine.billing import prices
from engine.billing.schemas import Price, Tier
from engine.flows import look_at_prices, sell_packages, set_prices
from engine.flows.look_at_prices import Priced
from engine.kit.clock import now
from engine.kit.errors import BadInput, EngineError, NotFound
from engine.kit.messages import t
from engine.kit.money import format_credits, parse_credits
from studio.views import prices as views


@dataclass(frozen=True)
class Typed:
    """A price as it is typed: credits as text; a tier is [from tokens, price in, price out]."""

    input_price: str
    output_price: str
    call_price: str
    minimum: str
    tiers: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Detail:
    """An expert's prices as the page shows them."""

    head: str
    history: str
    packages: str
    typed: Typed


def listing(person: Person, language: str) -> str:
    """Return the table of the tenant's experts on the market, or what stands there before the first."""
    return views.listing(look_at_prices.published(person), language)


def detail(person: Person, name: str, language: str) -> Detail:
    """Return one expert's prices. Raises NotFound for another's, and for one that is not on the market."""
    found = look_at_prices.priced(person, name)
    return Detail(
        head=views.head(found.expert, language),
        history=views.history(found.versions, language),
        packages=views.packages(found.packages, language),
        typed=_typed(found),
    )


def _typed(found: Priced) -> Typed:
    price = found.versions[0] if found.versions else None
    if price is None:
        expert = found.expert
        return Typed(_plain(expert.input_price_micro), _plain(expert.output_price_micro), "0", "0", ())
    return Typed(
        _plain(price.input_micro),
        _plain(price.output_micro),
        _plain(price.call_micro),
        _plain(price.minimum_micro),
        [[str(one.from_tokens), _plain(one.input_micro), _plain(one.output_micro)] for one in price.tiers],
    )


def _plain(micro: int) -> str:
    return format_credits(micro).replace(",", "")


def _terms(typed: Typed) -> set_prices.Terms:
    """Return what was typed in micro-credits; empty rows of tiers are left out. Raises BadInput."""
    return set_prices.Terms(
        input_micro=parse_credits(typed.input_price or "0", "input_price"),
        output_micro=parse_credits(typed.output_price or "0", "output_price"),
        call_micro=parse_credits(typed.call_price or "0", "call_price"),
        minimum_micro=parse_credits(typed.minimum or "0", "minimum"),
        tiers=tuple(
            Tier(
                from_tokens=whole(start, "tiers"),
                input_micro=parse_credits(given or "0", "tiers"),
                output_micro=parse_credits(made or "0", "tiers"),
            )
            for start, given, made in _rows(typed.tiers)
        ),
    )


def _rows(tiers: Sequence[Sequence[object]]) -> list[list[str]]:
    rows = [["" if cell is None else str(cell).strip() for cell in row][:3] for row in tiers]
    return [row + [""] * (3 - len(row)) for row in rows if any(row)]


def with_room(tiers: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the rows of tiers with two empty ones to type into, as far as more are allowed."""
    room = min(2, prices.MOST_TIERS - len(tiers))
    return [*(list(row) for row in tiers), *([""] * 3 for _ in range(room))]


def whole(text: object, field: str) -> int:
    """Return a number of tokens, in which commas and blanks do not matter. Raises BadInput naming `field`."""
    digits = "".join(str(text or "").replace(",", "").replace("，", "").split())
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 15 and int(digits) > 0):
        raise BadInput("packages.bad_number", field=field, value=str(text or "")[:40])
    return int(digits)


def typical(person: Person, name: str, typed: Typed, language: str) -> str:
    """Return what a usual call would cost at a price as it is typed; what is no price yet says so."""
    found = look_at_prices.priced(person, name)
    try:
        terms = _terms(typed)
    except EngineError as error:
        return cards.note(error.message(language), "bad")
    price = Price(
        id="",
        subject=name,
        number=0,
        input_micro=terms.input_micro,
        output_micro=terms.output_micro,
        call_micro=terms.call_micro,
        minimum_micro=terms.minimum_micro,
        tiers=terms.tiers,
        by_id=person.id,
        created_at=now(),
    )
    before = found.versions[0] if found.versions else None
    levels = [(tier.from_tokens, prices.cost(price, *found.usual, tier.from_tokens)) for tier in price.tiers]
    return views.typical(
        found.usual,
        cost=prices.cost(price, *found.usual),
        before=prices.cost(before, *found.usual) if before else None,
        levels=levels,
        language=language,
    )


def save(person: Person, name: str, typed: Typed, language: str) -> str:
    """Give the expert another price and say so. Raises BadInput naming the field, NotFound."""
    price = set_prices.change(person, name, _terms(typed))
    return t("packages.price_saved", language, number=price.number)


def offer(person: Person, name: str, title: str, tokens: str, price: str, language: str) -> str:
    """Offer a package and say so. Raises BadInput naming the field, NotFound, Conflict."""
    made = sell_packages.offer(
        person, name, title=title or "", tokens=whole(tokens, "tokens"), price=price or ""
    )
    return t("packages.offered_done", language, title=made.title)


def withdraw_question(person: Person, name: str, package_id: str, language: str) -> str:
    """Return what withdrawing a package does. Raises NotFound for one that is not offered."""
    for one in look_at_prices.priced(person, name).packages:
        if one.package.id == package_id and one.package.state == "offered":
            return views.withdraw_question(one, language)
    raise NotFound("packages.unknown", id=package_id[:40])


def withdraw(person: Person, name: str, package_id: str, language: str) -> str:
    """Sell a package no more and say so. Raises NotFound."""
    return t(
        "packages.withdrawn_done", language, title=sell_packages.withdraw(person, name, package_id).title
    )
