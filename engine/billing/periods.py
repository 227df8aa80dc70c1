"""Months of a subscription, counted from its first day, so that the days do not drift."""

from calendar import monthrange
from datetime import datetime


def months_later(first: datetime, months: int) -> datetime:
    """Return the same day and time so many months later; the month's last day where it has no such."""
    years, month = divmod(first.month - 1 + months, 12)
    year = first.year + years
    day = min(first.day, monthrange(year, month + 1)[1])
    return first.replace(year=year, month=month + 1, day=day)


def period_at(first: datetime, at: datetime) -> tuple[datetime, datetime]:
    """Return start and end of the month, counted from `first`, that `at` lies in; the end is not part of it.

    Before `first` that is the first month.
    """
    months = max(0, (at.year - first.year) * 12 + at.month - first.month)
    if months and months_later(first, months) > at:
        months -= 1
    return months_later(first, months), months_later(first, months + 1)
