"""What billing can say of its own books, and the results of comparing them with what was used.

`engine/flows/reconcile.py` does the comparing: usage events belong to another domain.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session

from engine.billing import repository_checks as repository
from engine.billing import repository_meters as meters
from engine.billing.models import ReconciliationRow
from engine.billing.schemas import Rates
from engine.kit.clock import now
from engine.kit.ids import new_id

MOST_KEPT = 1_000
"""Differences that are written down one by one; more of them are only counted."""
KEEP = timedelta(days=7)

Kind = Literal[
    "usage",
    "no_event",
    "twice",
    "no_receipt",
    "receipt",
    "refund",
    "meter",
    "charge",
    "no_meter",
    "wallet",
    "held",
    "ledger",
]


class Difference(BaseModel):
    """Two numbers that should be one: `expected` by what was booked last, `actual` by the other side.

    `kind`: "usage" (event and receipt), "no_event" and "twice" (a receipt without or with several events),
    "no_receipt" (an event), "receipt" and "refund" (beside their movement), "meter" (measured time and what
    it was charged), "charge" (a meter and its movements), "no_meter" (an attempt), "wallet" and "held" (kept
    beside the sums), "ledger" (its sum is not zero). `id` is that of the receipt, refund, event, meter or
    tenant.
    """

    model_config = ConfigDict(frozen=True)

    kind: Kind
    id: str
    tenant_id: str = ""
    micro: int = 0
    tokens: int = 0
    expected: str = ""
    actual: str = ""


class Reconciliation(BaseModel):
    """One comparison: up to when, over all or what was new, how much was looked at, what did not agree.

    `found` counts all differences, of which `differences` lists at most 1,000; `micro` and `tokens` are the
    sums of their sizes.
    """

    model_config = ConfigDict(frozen=True, from_attributes=True)

    id: str
    at: datetime
    whole: bool
    until: datetime
    checked: int
    differences: Sequence[Difference]
    found: int
    micro: int
    tokens: int

    @property
    def agrees(self) -> bool:
        """True when nothing differs."""
        return self.found == 0


class Paid(NamedTuple):
    """A receipt as it is compared with usage events."""

    id: str
    hold_id: str
    tenant_id: str
    state: str
    charged_micro: int
    created_at: datetime
    person_id: str
    model: str
    input_tokens: int
    output_tokens: int
    moved_micro: int


class Metered(NamedTuple):
    """A meter as it is compared with what its attempt measured; times are milliseconds."""

    key: str
    tenant_id: str
    state: str
    cpu_ms: int
    gpu_ms: int
    cpu_hour_micro: int
    gpu_hour_micro: int
    charged_micro: int
    unpaid_micro: int
    moved_micro: int

    @property
    def rates(self) -> Rates:
        """What an hour of each costs on this meter."""
        return Rates(cpu_hour_micro=self.cpu_hour_micro, gpu_hour_micro=self.gpu_hour_micro)


def latest(uow: Session) -> Reconciliation | None:
    """Return the newest comparison, None before the first."""
    found = repository.latest(uow)
    return Reconciliation.model_validate(found[0]) if found else None


def history(uow: Session, limit: int = 20) -> list[Reconciliation]:
    """Return comparisons, newest first."""
    return [Reconciliation.model_validate(row) for row in repository.latest(uow, limit)]


def save(
    uow: Session, *, whole: bool, until: datetime, checked: int, differences: Sequence[Difference]
) -> Reconciliation:
    """Write down a comparison."""
    row = ReconciliationRow(
        id=new_id("rec"),
        at=now(),
        whole=whole,
        until=until,
        checked=checked,
        differences=[each.model_dump() for each in differences[:MOST_KEPT]],
        found=len(differences),
        micro=sum(each.micro for each in differences),
        tokens=sum(each.tokens for each in differences),
    )
    repository.save(uow, row, KEEP)
    return Reconciliation.model_validate(row)


def first_receipt(uow: Session) -> datetime | None:
    """Return when the oldest receipt was written."""
    return repository.first_receipt(uow)


def paid(uow: Session, since: datetime, until: datetime, ids: Collection[str] = ()) -> list[Paid]:
    """Return the receipts of a time and those named, oldest first."""
    return [
        Paid(**{name: row._mapping[name] for name in Paid._fields})
        for row in repository.receipts(uow, since, until, ids)
    ]


def ended(uow: Session, hold_ids: Collection[str]) -> set[str]:
    """Return which of these holds have receipts."""
    return repository.ended_holds(uow, hold_ids) if hold_ids else set()


def check_receipts(receipts: Sequence[Paid]) -> list[Difference]:
    """Return the receipts that say another charge than what they moved."""
    return [
        _of("receipt", one.id, one.tenant_id, one.charged_micro, int(one.moved_micro))
        for one in receipts
        if one.charged_micro != one.moved_micro
    ]


def check_refunds(
    uow: Session, since: datetime, until: datetime, ids: Collection[str] = ()
) -> tuple[int, list[Difference]]:
    """Return how many refunds there are, and those that say another amount than what they moved."""
    rows = repository.refunds(uow, since, until, ids)
    wrong = [
        _of("refund", row.id, row.tenant_id, row.amount_micro, int(row.moved_micro))
        for row in rows
        if row.amount_micro != row.moved_micro
    ]
    return len(rows), wrong


def metered(uow: Session, since: datetime, until: datetime, keys: Collection[str] = ()) -> list[Metered]:
    """Return the meters that changed in a time and those named."""
    return [
        Metered(**{name: row._mapping[name] for name in Metered._fields})
        for row in meters.checked(uow, since, until, keys)
    ]


def first_meter(uow: Session) -> datetime | None:
    """Return when the oldest meter was set up: what ran before has none."""
    return meters.first(uow)


def check_meters(found: Sequence[Metered], measured: Mapping[str, tuple[int, int]]) -> list[Difference]:
    """Return the meters that moved other amounts than they say, and closed ones that measured another time.

    `measured` are the times of a processor and of a GPU, in milliseconds, by the meter's key.
    """
    wrong = []
    for one in found:
        if one.charged_micro != one.moved_micro:
            wrong.append(_of("charge", one.key, one.tenant_id, one.charged_micro, int(one.moved_micro)))
        due = one.rates.cost(*measured.get(one.key, (0, 0)))
        told = one.charged_micro + one.unpaid_micro
        if one.state == "closed" and told != due:
            wrong.append(_of("meter", one.key, one.tenant_id, told, due))
    return wrong


def check_wallets(
    uow: Session, since: datetime | None, until: datetime, also: Collection[str] = ()
) -> tuple[int, list[Difference]]:
    """Return how many wallets there are, and those whose kept sums are not what they are sums of.

    Looks at wallets that moved since a moment and at those of `also`; at all of them for None.
    """
    tenants = None if since is None else repository.touched(uow, since, until) | set(also)
    rows = repository.wallets(uow, tenants)
    wrong = []
    for row in rows:
        if row.balance_micro != row.entries_micro:
            wrong.append(_of("wallet", row.tenant_id, row.tenant_id, row.entries_micro, row.balance_micro))
        if row.held_micro != row.holds_micro:
            wrong.append(_of("held", row.tenant_id, row.tenant_id, row.holds_micro, row.held_micro))
    return len(rows), wrong


def check_ledger(uow: Session, since: datetime | None, until: datetime) -> list[Difference]:
    """Return that the ledger's sum is not zero, over a time or over all up to its end."""
    total = repository.ledger(uow, since, until)
    return [_of("ledger", "", "", 0, total)] if total else []


def _of(kind: Kind, id: str, tenant_id: str, expected: Any, actual: Any) -> Difference:
    return Difference(
        kind=kind,
        id=id,
        tenant_id=tenant_id,
        micro=abs(int(expected) - int(actual)),
        expected=str(expected),
        actual=str(actual),
    )
