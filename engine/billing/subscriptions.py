"""Packages that are bought: the first month, the months after it, and their end.

Each month is one movement, split like a call's, and one allowance of tokens. Locks are taken in one order:
the wallet, then the subscription.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from engine.billing import repository
from engine.billing import repository_packages as bought
from engine.billing.booking import PLATFORM, Movement, book, booked_before
from engine.billing.holds import check_key
from engine.billing.models_packages import AllowanceRow, PackageRow, SubscriptionRow
from engine.billing.periods import period_at
from engine.billing.schemas import Allowance, Package, Subscription, digest_of
from engine.kit.clock import now
from engine.kit.errors import Conflict, InsufficientCredit, NotFound
from engine.kit.ids import new_id
from engine.kit.money import format_credits, split

TRY_AGAIN = timedelta(hours=1)
PATIENCE = timedelta(days=3)
"""How long a month that could not be paid is tried again."""


def buy(
    uow: Session, *, package_id: str, tenant_id: str, person_id: str, key: str, at: datetime | None = None
) -> Subscription:
    """Buy a package for a month from now on, once per `key` of this tenant; then it goes on by itself.

    One that could not be renewed, or whose month is over, gives way to it. Raises NotFound for an unknown
    package, Conflict for one that is withdrawn, while the tenant has a package for this subject, and for a
    key that was used for something else; InsufficientCredit with balance, needed and missing.
    """
    check_key(key)
    at = at or now()
    free = _free(uow, tenant_id)
    scoped, digest = f"package:{tenant_id}:{key}", digest_of(package_id, person_id)
    if (movement_id := booked_before(uow, scoped, digest)) is not None:
        paid = bought.allowance_of_movement(uow, movement_id)
        assert paid is not None  # written with its movement
        return get(uow, paid.subscription_id, tenant_id)
    # Locked, so that it is not withdrawn between this look and the end.
    package = bought.package(uow, package_id, lock=True) if package_id.isprintable() else None
    if package is None:
        raise NotFound("packages.unknown", field="package", id=package_id[:40])
    if package.state != "offered":
        raise Conflict("packages.withdrawn", field="package", title=package.title)
    if (before := bought.running(uow, tenant_id, package.subject)) is not None:
        if before[0].state != "unpaid" and before[0].ends_at > at:
            raise Conflict("packages.has_one", title=before[1].title, until=f"{before[0].ends_at:%Y-%m-%d}")
        _end(uow, before[0], "replaced")
    _check_covered(package, free)
    row = SubscriptionRow(
        id=new_id("sub"),
        tenant_id=tenant_id,
        package_id=package.id,
        subject=package.subject,
        person_id=person_id,
        state="active",
        renews=True,
        reason=None,
        created_at=at,
        ends_at=at,
        due_at=None,
    )
    bought.add(uow, row)
    _pay(uow, row, package, period_at(at, at), scoped, digest, at)
    return get(uow, row.id, tenant_id)


def _free(uow: Session, tenant_id: str) -> int:
    wallet = repository.lock_wallets(uow, [tenant_id])[tenant_id]
    return wallet.balance - wallet.held


def _check_covered(package: PackageRow, free: int) -> None:
    if free < package.price_micro:
        raise InsufficientCredit(
            "packages.insufficient",
            balance=format_credits(free),
            needed=format_credits(package.price_micro),
            missing=format_credits(package.price_micro - free),
        )


def _pay(
    uow: Session,
    row: SubscriptionRow,
    package: PackageRow,
    period: tuple[datetime, datetime],
    key: str,
    digest: str,
    at: datetime,
) -> None:
    """Book a month of a locked wallet and give its tokens."""
    start, end = period
    developer, platform = split(package.price_micro)
    legs = (
        ((row.tenant_id, "wallet"), -package.price_micro),
        ((package.tenant_id, "earnings"), developer),
        ((PLATFORM, "revenue"), platform),
    )
    meta = {
        "subscription_id": row.id,
        "package_id": package.id,
        "model": row.subject,
        "title": package.title,
        "by": row.person_id,
    }
    movement = Movement(tenant_id=row.tenant_id, key=key, digest=digest, kind="package", legs=legs, meta=meta)
    [movement_id] = book(uow, [movement], at=at)
    allowance = AllowanceRow(
        id=new_id("alw"),
        subscription_id=row.id,
        tenant_id=row.tenant_id,
        subject=row.subject,
        tokens=package.tokens,
        used_tokens=0,
        held_tokens=0,
        starts_at=start,
        ends_at=end,
        transaction_id=movement_id,
    )
    bought.add(uow, allowance)
    row.state, row.ends_at, row.due_at = "active", end, end
    uow.flush()


def _end(uow: Session, row: SubscriptionRow, reason: str) -> None:
    row.state, row.reason, row.renews, row.due_at = "ended", reason, False, None
    uow.flush()


def cancel(uow: Session, subscription_id: str, *, tenant_id: str) -> Subscription:
    """Buy no further month. What is paid for lasts to its end; nothing is given back. Raises NotFound.

    Cancelling again changes nothing.
    """
    found = bought.subscription(uow, subscription_id, lock=True) if subscription_id.isprintable() else None
    if found is None or found[0].tenant_id != tenant_id:
        raise NotFound("packages.no_subscription", id=subscription_id[:40])
    row, _ = found
    if row.state == "unpaid":
        _end(uow, row, "cancelled")
    elif row.state == "active":
        row.state, row.renews = "ending", False
        uow.flush()
    return get(uow, subscription_id, tenant_id)


def due(uow: Session, at: datetime, limit: int = 500) -> list[tuple[str, str]]:
    """Return subscriptions whose month is over, and their subjects, the longest wait first."""
    return [(row.id, row.subject) for row in bought.due(uow, at, limit)]


def renew(uow: Session, subscription_id: str, at: datetime, *, sold: bool) -> str | None:
    """Buy the next month of a subscription that is due, or end it; return its state, None if it is not due.

    It ends when it was cancelled, when its package was withdrawn or its subject is not `sold` any more, and
    when it could not be paid for three days. However often, and by however many at once this is asked, a
    month is bought once.
    """
    seen = bought.subscription(uow, subscription_id)
    if seen is None:
        return None
    free = _free(uow, seen[0].tenant_id)
    found = bought.subscription(uow, subscription_id, lock=True)
    assert found is not None  # never deleted
    row, package = found
    if row.due_at is None or row.due_at > at:
        return None
    if not row.renews:
        _end(uow, row, "cancelled")
    elif package.state != "offered":
        _end(uow, row, "withdrawn")
    elif not sold:
        _end(uow, row, "off_market")
    elif free >= package.price_micro:
        period = period_at(row.created_at, at)
        key = f"sub:{row.id}:{period[0].isoformat()}"
        _pay(uow, row, package, period, key, digest_of(row.id, period[0].isoformat()), at)
    elif at >= row.ends_at + PATIENCE:
        _end(uow, row, "unpaid")
    else:
        row.state, row.due_at = "unpaid", at + TRY_AGAIN
        uow.flush()
    return row.state


def get(uow: Session, subscription_id: str, tenant_id: str) -> Subscription:
    """Return a tenant's subscription. Raises NotFound."""
    found = bought.subscription(uow, subscription_id) if subscription_id.isprintable() else None
    if found is None or found[0].tenant_id != tenant_id:
        raise NotFound("packages.no_subscription", id=subscription_id[:40])
    return _views(uow, [found])[0]


def mine(uow: Session, tenant_id: str, limit: int = 50) -> list[Subscription]:
    """Return a tenant's subscriptions, newest first."""
    return _views(uow, bought.subscriptions(uow, tenant_id, limit))


def _views(uow: Session, found: Sequence[bought.Bought]) -> list[Subscription]:
    allowances = bought.last_allowances(uow, [row.id for row, _ in found])
    return [
        Subscription(
            **{name: getattr(row, name) for name in _OWN},
            package=Package.model_validate(package),
            allowance=Allowance.model_validate(allowances[row.id]),
        )
        for row, package in found
    ]


_OWN = [name for name in Subscription.model_fields if name not in ("package", "allowance")]
