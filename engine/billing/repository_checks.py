"""The SQL of reconciling: receipts with their movements, kept sums with what they are sums of."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select, text
from sqlalchemy.orm import Session

from engine.billing.models import ReceiptRow, ReconciliationRow

# What a receipt moved out of its tenant's wallet. Calls before holds stood beside the ledger moved a hold.
_RECEIPTS = text(
    """
SELECT r.id, r.hold_id, r.tenant_id, r.state, r.charged_micro, r.created_at,
    coalesce(r.subject ->> 'person_id', '') AS person_id,
    coalesce(r.usage ->> 'model', r.subject ->> 'model', '') AS model,
    coalesce(CAST(r.usage ->> 'input_tokens' AS bigint), 0) AS input_tokens,
    coalesce(CAST(r.usage ->> 'output_tokens' AS bigint), 0) AS output_tokens,
    coalesce((SELECT -sum(e.amount_micro) FROM billing_entries e
        JOIN billing_accounts a ON a.id = e.account_id
        WHERE e.transaction_id = r.transaction_id AND e.tenant_id = r.tenant_id
        AND a.kind IN ('wallet', 'held')), 0) AS moved_micro
FROM billing_receipts r
WHERE (r.created_at >= :since AND r.created_at < :until) OR r.id = ANY(CAST(:ids AS text[]))
ORDER BY r.created_at, r.id
"""
)

_REFUNDS = text(
    """
SELECT f.id, f.tenant_id, f.amount_micro,
    coalesce((SELECT sum(e.amount_micro) FROM billing_entries e
        JOIN billing_accounts a ON a.id = e.account_id
        WHERE e.transaction_id = f.transaction_id AND e.tenant_id = f.tenant_id AND a.kind = 'wallet'), 0)
        AS moved_micro
FROM billing_refunds f
WHERE (f.created_at >= :since AND f.created_at < :until) OR f.id = ANY(CAST(:ids AS text[]))
"""
)

# Every tenant with a wallet or with entries of one, or those named.
_WALLETS = text(
    """
WITH held AS (
    SELECT tenant_id, sum(amount_micro) AS micro FROM billing_holds WHERE state = 'open' GROUP BY tenant_id
), known AS (
    SELECT tenant_id FROM billing_wallets UNION SELECT tenant_id FROM billing_accounts WHERE kind = 'wallet'
    UNION SELECT tenant_id FROM held
)
SELECT k.tenant_id, coalesce(w.balance_micro, 0) AS balance_micro, coalesce(w.held_micro, 0) AS held_micro,
    coalesce((SELECT sum(e.amount_micro) FROM billing_entries e WHERE e.account_id = a.id), 0)
        AS entries_micro,
    coalesce(h.micro, 0) AS holds_micro
FROM known k
LEFT JOIN billing_wallets w ON w.tenant_id = k.tenant_id
LEFT JOIN billing_accounts a ON a.tenant_id = k.tenant_id AND a.kind = 'wallet'
LEFT JOIN held h ON h.tenant_id = k.tenant_id
WHERE :whole OR k.tenant_id = ANY(CAST(:tenants AS text[]))
"""
)


def receipts(uow: Session, since: datetime, until: datetime, ids: Collection[str]) -> list[Any]:
    """Return the receipts of a time and those named, each with what it moved."""
    return list(uow.execute(_RECEIPTS, {"since": since, "until": until, "ids": list(ids)}))


def refunds(uow: Session, since: datetime, until: datetime, ids: Collection[str]) -> list[Any]:
    """Return the refunds of a time and those named, each with what it moved."""
    return list(uow.execute(_REFUNDS, {"since": since, "until": until, "ids": list(ids)}))


def ended_holds(uow: Session, ids: Collection[str]) -> set[str]:
    """Return which of these holds have receipts."""
    query = text("SELECT hold_id FROM billing_receipts WHERE hold_id = ANY(:ids)")
    return set(uow.scalars(query, {"ids": list(ids)}))


def touched(uow: Session, since: datetime, until: datetime) -> set[str]:
    """Return the tenants whose credits moved, or were held, in a time."""
    query = text(
        "SELECT tenant_id FROM billing_entries WHERE at >= :since AND at < :until"
        " UNION SELECT tenant_id FROM billing_receipts WHERE created_at >= :since AND created_at < :until"
        " UNION SELECT tenant_id FROM billing_holds WHERE state = 'open'"
    )
    return set(uow.scalars(query, {"since": since, "until": until}))


def wallets(uow: Session, tenants: Collection[str] | None) -> list[Any]:
    """Return kept balances and holds beside the sums they should be; of all tenants for None."""
    return list(uow.execute(_WALLETS, {"whole": tenants is None, "tenants": list(tenants or ())}))


def ledger(uow: Session, since: datetime | None, until: datetime) -> int:
    """Return the sum of the entries of a time, of all up to its end for None: zero, or something is wrong."""
    query = "SELECT coalesce(sum(amount_micro), 0) FROM billing_entries WHERE at < :until"
    if since is not None:
        query += " AND at >= :since"
    return int(uow.scalar(text(query), {"since": since, "until": until}) or 0)


def first_receipt(uow: Session) -> datetime | None:
    """Return when the oldest receipt was written."""
    return uow.scalar(select(ReceiptRow.created_at).order_by(ReceiptRow.created_at).limit(1))


def latest(uow: Session, limit: int = 1) -> list[ReconciliationRow]:
    """Return the newest comparisons."""
    return list(uow.scalars(select(ReconciliationRow).order_by(ReconciliationRow.at.desc()).limit(limit)))


def save(uow: Session, row: ReconciliationRow, keep: timedelta) -> None:
    """Write a comparison, and forget those of long ago that found nothing."""
    old = ReconciliationRow.at < row.at - keep, ReconciliationRow.found == 0
    uow.execute(delete(ReconciliationRow).where(*old))
    uow.add(row)
    uow.flush()
