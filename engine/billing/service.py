"""The rules of money: top up, hold, settle, release, and what a tenant may know of it.

Every movement is one transaction whose entries sum to zero, booked once per idempotency key. Amounts are
integer micro-credits. The accounts: a tenant's `wallet`, `earnings`, `payouts_pending`, and `owed`, which is
below zero by what could not be taken back; the platform's `revenue`, and `top_ups` and `paid_out`, which
stand for the world outside. What calls hold stays in the wallet, and cannot be spent.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from engine.billing import holds, repository, repository_packages, top_ups
from engine.billing.models import Budget
from engine.billing.schemas import (
    EntryView,
    ExpertEarnings,
    HoldRequest,
    HoldView,
    Receipt,
    Settlement,
    digest_of,
)
from engine.kit.errors import EngineError, NotFound

T = TypeVar("T")
sweep = holds.sweep


def top_up(uow: Session, *, tenant_id: str, amount_micro: int, key: str, by: str) -> EntryView:
    """Add credits to a wallet, once per `key` of this tenant; return the wallet's entry.

    `by` is the id of the person, or says where the credits come from. Raises BadInput naming `amount` for an
    amount that is not above zero or is over 10,000 credits, Conflict for a key that was used for another
    amount or by another person.
    """
    holds.check_key(key)
    return top_ups.add(
        uow,
        tenant_id=tenant_id,
        amount_micro=amount_micro,
        key=f"top_up:{tenant_id}:{key}",
        digest=digest_of(amount_micro, by),
        meta={"by": by},
    )


def balance(uow: Session, tenant_id: str) -> int:
    """Return what a tenant can spend now: the wallet, without what is held for running calls."""
    wallet = repository.wallet(uow, tenant_id)
    return wallet.balance - wallet.held


def held(uow: Session, tenant_id: str) -> int:
    """Return what is set aside for a tenant's running calls."""
    return repository.wallet(uow, tenant_id).held


def hold(
    uow: Session,
    *,
    tenant_id: str,
    amount_micro: int,
    key: str,
    subject: dict[str, Any],
    expires_at: datetime,
    budget_id: str | None = None,
) -> HoldView:
    """Set `amount_micro` aside for one call, once per `key` of this tenant; see `holds.hold_many`.

    Raises what stands there as refusals.
    """
    request = HoldRequest(
        tenant_id=tenant_id,
        amount_micro=amount_micro,
        key=key,
        subject=subject,
        expires_at=expires_at,
        budget_id=budget_id,
    )
    return _only(holds.hold_many(uow, [request]))


def settle(
    uow: Session, *, hold_id: str, amount_micro: int, developer_tenant_id: str, usage: dict[str, Any]
) -> Receipt:
    """Charge one hold; see `holds.settle_many`. Raises what stands there as refusals."""
    settlement = Settlement(
        hold_id=hold_id, amount_micro=amount_micro, developer_tenant_id=developer_tenant_id, usage=usage
    )
    return _only(holds.settle_many(uow, [settlement]))


def release(uow: Session, hold_id: str, reason: str) -> Receipt:
    """Give one hold back whole; see `holds.release_many`. Raises NotFound for an unknown hold."""
    return holds.release_many(uow, {hold_id: reason})[0]


def hold_of(uow: Session, tenant_id: str, key: str) -> HoldView | None:
    """Return the hold with this key of a tenant, in its present state."""
    scoped = f"hold:{tenant_id}:{key}"
    row = repository.holds_by_key(uow, {scoped}).get(scoped)
    return HoldView.model_validate(row) if row else None


def set_budget(uow: Session, *, budget_id: str, tenant_id: str, limit_micro: int) -> None:
    """Limit what may be spent in all under an id; calling it again changes the limit.

    Raises BadInput for an amount that is none, NotFound for another tenant's budget.
    """
    holds.check_amount(limit_micro)
    row = repository.lock_budgets(uow, [budget_id]).get(budget_id)
    if row is None:
        row = Budget(id=budget_id, tenant_id=tenant_id, limit_micro=0, spent_micro=0, held_micro=0)
        repository.add_budget(uow, row)
    if row.tenant_id != tenant_id:
        raise NotFound("billing.no_budget")
    row.limit_micro = limit_micro
    uow.flush()


def spent(uow: Session, budget_ids: Sequence[str]) -> dict[str, int]:
    """Return what was spent under budgets, by id; those that are none are left out."""
    found = (repository.budget(uow, budget_id) for budget_id in budget_ids)
    return {row.id: row.spent_micro for row in found if row is not None}


def receipt(uow: Session, receipt_or_hold_id: str, tenant_id: str) -> Receipt:
    """Return a tenant's receipt by its own id or its hold's.

    Raises NotFound also for another tenant's, and for a hold that is still open.
    """
    row = repository.receipt(uow, receipt_or_hold_id, tenant_id) if receipt_or_hold_id.isprintable() else None
    if row is None:
        raise NotFound("billing.no_receipt", id=receipt_or_hold_id[:40])
    return Receipt.model_validate(row)


def receipts(uow: Session, tenant_id: str, limit: int = 50) -> list[Receipt]:
    """Return a tenant's receipts, newest first."""
    return [Receipt.model_validate(row) for row in repository.receipts(uow, tenant_id, limit)]


def entries(uow: Session, tenant_id: str, limit: int = 50, *, account: str | None = None) -> list[EntryView]:
    """Return a tenant's ledger entries, newest first.

    `account` narrows them to "wallet" or "earnings".
    """
    return repository.entries(uow, tenant_id, limit=limit, account=account)


def earnings(uow: Session, tenant_id: str) -> int:
    """Return what a tenant's experts have earned and was not paid out."""
    return repository.balance(uow, tenant_id, "earnings")


def earnings_by_expert(uow: Session, tenant_id: str) -> list[ExpertEarnings]:
    """Return calls, tokens and earnings of each of a tenant's experts, the best earner first."""
    by_calls = {one.name: one for one in repository.earnings_by_expert(uow, tenant_id)}
    for name, micro in repository_packages.earned(uow, tenant_id).items():
        before = by_calls.get(name, ExpertEarnings(name, 0, 0, 0))
        by_calls[name] = before._replace(micro=before.micro + micro)
    return sorted(by_calls.values(), key=lambda one: (-one.micro, one.name))


def ledger_sum(uow: Session) -> int:
    """Return the sum of the whole ledger: zero, always."""
    return repository.ledger_sum(uow)


def _only(verdicts: Sequence[T | EngineError]) -> T:
    [verdict] = verdicts
    if isinstance(verdict, EngineError):
        raise verdict
    return verdict
