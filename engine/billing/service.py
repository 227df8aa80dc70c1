"""The rules of money: top up, hold, settle, release.

Every movement is one transaction whose entries sum to zero, booked once per idempotency key. Amounts are
integer micro-credits. The accounts: a tenant's `wallet` (free to spend), `held` (set aside for calls that
run) and `earnings`; the platform's `revenue`, and `top_ups`, which stands for the world outside and is the
only account that goes below zero.
"""

import hashlib
import json
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from engine.billing import repository
from engine.billing.models import Account, Hold, ReceiptRow, Transaction
from engine.billing.schemas import EntryView, ExpertEarnings, HoldView, Receipt
from engine.kit.clock import now
from engine.kit.errors import BadInput, Conflict, InsufficientCredit, NotFound
from engine.kit.ids import new_id
from engine.kit.money import CREDIT, LARGEST, format_credits, split

PLATFORM = "platform"
TOP_UP_LIMIT = 10_000 * CREDIT
SWEEP_BATCH = 500


def top_up(uow: Session, *, tenant_id: str, amount_micro: int, key: str, by: str) -> EntryView:
    """Add credits to a wallet, once per `key` of this tenant; return the wallet's entry.

    `by` is the id of the person. Raises BadInput naming `amount` for an amount that is not above zero or is
    over 10,000 credits, Conflict for a key that was used for another amount or by another person.
    """
    _check_key(key)
    if amount_micro <= 0:
        raise BadInput("billing.top_up_zero", field="amount")
    if amount_micro > TOP_UP_LIMIT:
        raise BadInput("billing.top_up_too_large", field="amount", most=format_credits(TOP_UP_LIMIT, 0))
    scoped = f"top_up:{tenant_id}:{key}"
    digest = _digest(amount_micro, by)
    wallet = _locked_wallet(uow, tenant_id)
    movement = _booked(uow, scoped, digest)
    if movement is None:
        movement = repository.add_transaction(
            uow, tenant_id=tenant_id, key=scoped, digest=digest, kind="top_up", meta={"by": by}, at=now()
        )
        outside = repository.account(uow, PLATFORM, "top_ups")
        repository.add_entries(uow, movement, [(outside, -amount_micro), (wallet, amount_micro)])
    return repository.entries(uow, tenant_id, limit=1, account="wallet", transaction_id=movement.id)[0]


def balance(uow: Session, tenant_id: str) -> int:
    """Return what a tenant can spend now: the wallet, without what is held for running calls."""
    return repository.balance(uow, tenant_id, "wallet")


def held(uow: Session, tenant_id: str) -> int:
    """Return what is set aside for a tenant's running calls."""
    return repository.balance(uow, tenant_id, "held")


def hold(
    uow: Session,
    *,
    tenant_id: str,
    amount_micro: int,
    key: str,
    subject: dict[str, Any],
    expires_at: datetime,
) -> HoldView:
    """Set `amount_micro` aside for one call, once per `key` of this tenant.

    A retry with the same key, amount and subject returns the same hold in its present state, whatever its
    `expires_at`. Raises InsufficientCredit with balance, needed and missing; Conflict for a key that was
    used for something else; BadInput for a negative amount.
    """
    _check_key(key)
    _check_amount(amount_micro)
    scoped = f"hold:{tenant_id}:{key}"
    digest = _digest(amount_micro, subject)
    # The lock comes before the look: parallel calls of one wallet queue here, and each then reads what the
    # one before it left, both for the key and for the balance.
    wallet = _locked_wallet(uow, tenant_id)
    movement = _booked(uow, scoped, digest)
    if movement is not None:
        return HoldView.model_validate(repository.hold_of_transaction(uow, movement.id))
    available = balance(uow, tenant_id)
    if available < amount_micro:
        raise InsufficientCredit(
            "billing.insufficient",
            balance=format_credits(available),
            needed=format_credits(amount_micro),
            missing=format_credits(amount_micro - available),
        )
    at = now()
    movement = repository.add_transaction(
        uow, tenant_id=tenant_id, key=scoped, digest=digest, kind="hold", meta=subject, at=at
    )
    aside = repository.account(uow, tenant_id, "held")
    repository.add_entries(uow, movement, [(wallet, -amount_micro), (aside, amount_micro)])
    row = Hold(
        id=new_id("hold"),
        tenant_id=tenant_id,
        transaction_id=movement.id,
        amount_micro=amount_micro,
        subject=subject,
        state="open",
        expires_at=expires_at,
        created_at=at,
    )
    repository.add_hold(uow, row)
    return HoldView.model_validate(row)


def settle(
    uow: Session, *, hold_id: str, amount_micro: int, developer_tenant_id: str, usage: dict[str, Any]
) -> Receipt:
    """Charge a hold: 80% to the developer, the rest to the platform, what was not used back to the wallet.

    Never charges more than was held. Settling again with the same values returns the same receipt; a hold
    that was released meanwhile stays released and its receipt says so. Raises Conflict for a hold that was
    settled with other values, NotFound for an unknown one, BadInput for a negative amount.
    """
    _check_amount(amount_micro)
    row = _locked_hold(uow, hold_id)
    digest = _digest(amount_micro, developer_tenant_id, usage)
    if row.state != "open":
        if row.state == "settled":
            _booked(uow, f"settle:{hold_id}", digest)
        return Receipt.model_validate(repository.receipt_of_hold(uow, hold_id))
    charged = min(amount_micro, row.amount_micro)
    developer, platform = split(charged)
    movement = repository.add_transaction(
        uow,
        tenant_id=row.tenant_id,
        key=f"settle:{hold_id}",
        digest=digest,
        kind="settle",
        meta={"hold_id": hold_id, "model": usage.get("model")},
        at=now(),
    )
    repository.add_entries(
        uow,
        movement,
        [
            (repository.account(uow, row.tenant_id, "held"), -row.amount_micro),
            (repository.account(uow, developer_tenant_id, "earnings"), developer),
            (repository.account(uow, PLATFORM, "revenue"), platform),
            (repository.account(uow, row.tenant_id, "wallet"), row.amount_micro - charged),
        ],
    )
    return _end(uow, row, movement, charged, developer_tenant_id=developer_tenant_id, usage=usage)


def release(uow: Session, hold_id: str, reason: str) -> Receipt:
    """Give a whole hold back. One that has ended already stays as it is; the receipt's state says how.

    Raises NotFound for an unknown hold.
    """
    return _release(uow, _locked_hold(uow, hold_id), reason)


def sweep(uow: Session, now: datetime) -> int:
    """Release open holds that expired by `now`, at most 500 a time; return how many.

    Several sweeps may run at once: each passes over the holds that another, or a settlement, has in hand.
    """
    expired = repository.lock_expired_holds(uow, now, SWEEP_BATCH)
    for row in expired:
        _release(uow, row, "expired")
    return len(expired)


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

    `account` narrows them to "wallet", "held" or "earnings".
    """
    return repository.entries(uow, tenant_id, limit=limit, account=account)


def earnings(uow: Session, tenant_id: str) -> int:
    """Return all that a tenant's experts have earned."""
    return repository.balance(uow, tenant_id, "earnings")


def earnings_by_expert(uow: Session, tenant_id: str) -> list[ExpertEarnings]:
    """Return calls, tokens and earnings of each of a tenant's experts, the best earner first."""
    return repository.earnings_by_expert(uow, tenant_id)


def ledger_sum(uow: Session) -> int:
    """Return the sum of the whole ledger: zero, always."""
    return repository.ledger_sum(uow)


def _release(uow: Session, row: Hold, reason: str) -> Receipt:
    if row.state != "open":
        return Receipt.model_validate(repository.receipt_of_hold(uow, row.id))
    movement = repository.add_transaction(
        uow,
        tenant_id=row.tenant_id,
        key=f"release:{row.id}",
        digest=_digest(row.id),
        kind="release",
        meta={"hold_id": row.id, "reason": reason},
        at=now(),
    )
    aside = repository.account(uow, row.tenant_id, "held")
    wallet = repository.account(uow, row.tenant_id, "wallet")
    repository.add_entries(uow, movement, [(aside, -row.amount_micro), (wallet, row.amount_micro)])
    return _end(uow, row, movement, 0, reason=reason)


def _end(
    uow: Session,
    row: Hold,
    movement: Transaction,
    charged: int,
    *,
    developer_tenant_id: str | None = None,
    usage: dict[str, Any] | None = None,
    reason: str | None = None,
) -> Receipt:
    """Close a hold with its receipt: settled when a developer is named, released otherwise."""
    row.state = "released" if developer_tenant_id is None else "settled"
    developer, platform = split(charged)
    ended = ReceiptRow(
        id=new_id("rcp"),
        hold_id=row.id,
        transaction_id=movement.id,
        tenant_id=row.tenant_id,
        developer_tenant_id=developer_tenant_id,
        held_micro=row.amount_micro,
        charged_micro=charged,
        returned_micro=row.amount_micro - charged,
        developer_micro=developer,
        platform_micro=platform,
        usage=usage or {},
        state=row.state,
        reason=reason,
        created_at=movement.at,
    )
    repository.add_receipt(uow, ended)
    return Receipt.model_validate(ended)


def _locked_wallet(uow: Session, tenant_id: str) -> Account:
    wallet = repository.account(uow, tenant_id, "wallet")
    repository.lock(uow, wallet)
    return wallet


def _locked_hold(uow: Session, hold_id: str) -> Hold:
    row = repository.lock_hold(uow, hold_id)
    if row is None:
        raise NotFound("billing.no_hold", id=hold_id[:40])
    return row


def _booked(uow: Session, key: str, digest: str) -> Transaction | None:
    """Return the movement booked under `key`; raise Conflict if it was for another request."""
    movement = repository.transaction_by_key(uow, key)
    if movement is not None and movement.digest != digest:
        raise Conflict("billing.key_reused")
    return movement


def _digest(*body: object) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _check_key(key: str) -> None:
    if not (0 < len(key) <= 200 and key.isprintable()):
        raise BadInput("billing.bad_key", field="key")


def _check_amount(amount_micro: int) -> None:
    if not 0 <= amount_micro <= LARGEST:
        raise BadInput("billing.bad_amount", field="amount", most=format_credits(LARGEST, 0))
