"""Packages that are offered: what is refused, and that they are only ever withdrawn."""

import pytest

from engine.billing import packages
from engine.billing.schemas import Package
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, Conflict, NotFound
from engine.kit.money import CREDIT, LARGEST

MAKER = "ten_maker"


def offer(
    title: str = "Small", tokens: int = 10_000, price: int = 5 * CREDIT, subject: str = "tent-helper"
) -> Package:
    with unit_of_work() as uow:
        return packages.offer(
            uow,
            subject=subject,
            tenant_id=MAKER,
            title=title,
            tokens=tokens,
            price_micro=price,
            by_id="per_maker",
        )


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"title": "  "}, "title"),
        ({"title": "x" * 61}, "title"),
        ({"title": "a\x00b"}, "title"),
        ({"tokens": 999}, "tokens"),
        ({"tokens": 10**12 + 1}, "tokens"),
        ({"price": 0}, "price"),
        ({"price": -1}, "price"),
        ({"price": LARGEST + 1}, "price"),
    ],
)
def test_a_package_that_is_none_names_its_field(db: str, change: dict[str, object], field: str) -> None:
    with pytest.raises(BadInput) as refused:
        offer(**change)  # type: ignore[arg-type]
    assert refused.value.field == field
    with unit_of_work() as uow:
        assert packages.offered(uow, "tent-helper") == []


def test_what_is_offered_is_listed_from_the_smallest_up_to_the_limits(db: str) -> None:
    large = offer("Large", 10**12, LARGEST)
    small = offer("  Small   one ", 1_000, 1)
    offer(subject="other")
    assert small.title == "Small one"
    with unit_of_work() as uow:
        assert packages.offered(uow, "tent-helper") == [small, large]


def test_a_withdrawn_package_stays_listed_for_its_owner_alone(db: str) -> None:
    kept, gone = offer(), offer("Gone", 2_000)
    for _ in range(2):
        with unit_of_work() as uow:
            left = packages.withdraw(uow, gone.id, subject="tent-helper", tenant_id=MAKER)
        assert left == gone.model_copy(update={"state": "withdrawn"})
    with unit_of_work() as uow:
        assert packages.offered(uow, "tent-helper") == [kept]
        assert packages.of_owner(uow, "tent-helper", MAKER) == [(kept, 0), (left, 0)]
        assert packages.of_owner(uow, "tent-helper", "ten_other") == []


def test_nobody_withdraws_what_is_not_theirs(db: str) -> None:
    package = offer()
    for package_id, subject, tenant in (
        (package.id, "tent-helper", "ten_other"),
        (package.id, "other", MAKER),
        ("pkg_none", "tent-helper", MAKER),
        ("\x00", "tent-helper", MAKER),
    ):
        with pytest.raises(NotFound), unit_of_work() as uow:
            packages.withdraw(uow, package_id, subject=subject, tenant_id=tenant)


def test_so_many_are_offered_at_once_and_no_more(db: str) -> None:
    made = [offer(str(number)) for number in range(packages.MOST_OFFERED)]
    with pytest.raises(Conflict):
        offer("one more")
    with unit_of_work() as uow:
        packages.withdraw(uow, made[0].id, subject="tent-helper", tenant_id=MAKER)
    offer("one more")
