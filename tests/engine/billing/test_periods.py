"""Months of a subscription: the day of the first one, as far as a month has it, and no gap between them."""

from calendar import monthrange
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from engine.billing.periods import months_later, period_at

TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2100, 12, 31), timezones=st.just(UTC))


def test_a_month_ends_on_the_same_day_or_on_its_last() -> None:
    first = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
    days = [months_later(first, number).day for number in range(6)]
    assert days == [31, 28, 31, 30, 31, 30]
    assert months_later(datetime(2028, 1, 30, tzinfo=UTC), 1) == datetime(2028, 2, 29, tzinfo=UTC)
    assert months_later(datetime(2026, 12, 5, tzinfo=UTC), 1) == datetime(2027, 1, 5, tzinfo=UTC)


@given(first=TIMES, months=st.integers(0, 240))
def test_days_do_not_drift(first: datetime, months: int) -> None:
    found = months_later(first, months)
    assert found.day == min(first.day, monthrange(found.year, found.month)[1])
    assert found.timetz() == first.timetz()
    assert (found.year - first.year) * 12 + found.month - first.month == months


@given(first=TIMES, later=TIMES)
def test_every_moment_lies_in_one_month_and_the_months_touch(first: datetime, later: datetime) -> None:
    first, later = min(first, later), max(first, later)
    start, end = period_at(first, later)
    assert start <= later < end
    assert period_at(first, end)[0] == end and period_at(first, start) == (start, end)
