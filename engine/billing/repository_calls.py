"""The SQL of ordinary calls: many holds, or many settlements, each by one guarded statement.

What is not ordinary these leave alone: `holds.hold_many` and `holds.settle_many` handle it row by row. Both
lock in the order that `holds` tells.
"""

from collections.abc import Sequence
from typing import Any

import orjson
from psycopg.rows import DictRow

from engine.kit.database import Swift

_LOCK_WALLETS = (
    b"SELECT FROM billing_wallets WHERE tenant_id = ANY(%(ids)s) ORDER BY tenant_id FOR NO KEY UPDATE"
)
_LOCK_BUDGETS = b"SELECT FROM billing_budgets WHERE id = ANY(%(ids)s) ORDER BY id FOR NO KEY UPDATE"
_HOLD = b"""
WITH asked AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(CAST(%(rows)s AS jsonb)) AS r(
        n int, id text, tenant_id text, key text, digest text, amount_micro bigint, budget_id text,
        subject jsonb, expires_at timestamptz, created_at timestamptz)
), wallets AS (
    SELECT tenant_id, balance_micro - held_micro AS free FROM billing_wallets
    WHERE tenant_id = ANY(%(tenants)s)
), budgets AS (
    SELECT id, tenant_id, limit_micro - spent_micro - held_micro AS free FROM billing_budgets
    WHERE id = ANY(%(budgets)s)
), summed AS (
    SELECT *, sum(amount_micro) OVER (PARTITION BY tenant_id ORDER BY n) AS of_wallet,
        sum(amount_micro) OVER (PARTITION BY budget_id ORDER BY n) AS of_budget
    FROM asked
), held AS (
    INSERT INTO billing_holds
        (id, tenant_id, key, digest, amount_micro, budget_id, subject, state, expires_at, created_at)
    SELECT s.id, s.tenant_id, s.key, s.digest, s.amount_micro, s.budget_id, s.subject, 'open',
        s.expires_at, s.created_at
    FROM summed s JOIN wallets w ON w.tenant_id = s.tenant_id
    LEFT JOIN budgets b ON b.id = s.budget_id AND b.tenant_id = s.tenant_id
    WHERE s.of_wallet <= w.free AND (s.budget_id IS NULL OR s.of_budget <= b.free)
    ON CONFLICT (key) DO NOTHING
    RETURNING id, tenant_id, amount_micro, budget_id
), from_wallets AS (
    UPDATE billing_wallets w SET held_micro = w.held_micro + t.amount
    FROM (SELECT tenant_id, sum(amount_micro) AS amount FROM held GROUP BY tenant_id) t
    WHERE w.tenant_id = t.tenant_id
), from_budgets AS (
    UPDATE billing_budgets b SET held_micro = b.held_micro + t.amount
    FROM (SELECT budget_id, sum(amount_micro) AS amount FROM held GROUP BY budget_id) t
    WHERE b.id = t.budget_id
)
SELECT id FROM held
"""


def hold(connection: Swift, rows: Sequence[dict[str, Any]]) -> set[str]:
    """Write those holds that wallets and budgets cover, in the order of `rows`, and return their ids.

    Left out are keys that are known already, wallets that are not there, and whatever comes after something
    that does not fit in the same wallet or budget.
    """
    numbered = [{"n": number, **row} for number, row in enumerate(rows)]
    tenants = sorted({row["tenant_id"] for row in rows})
    budgets = sorted({row["budget_id"] for row in rows if row["budget_id"]})
    asked = {"rows": orjson.dumps(numbered).decode(), "tenants": tenants, "budgets": budgets}
    # The locks come first, by statements of their own: a statement that waits for a lock goes on with what it
    # saw before, and its UPDATE is first tried on that.
    with connection.pipeline(), connection.transaction():
        connection.execute(_LOCK_WALLETS, {"ids": tenants})
        if budgets:
            connection.execute(_LOCK_BUDGETS, {"ids": budgets})
        return {row["id"] for row in connection.execute(_HOLD, asked)}


_SETTLE = b"""
WITH asked AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(CAST(%(rows)s AS jsonb)) AS r(
        hold_id text, amount_micro bigint, developer_tenant_id text, usage jsonb, digest text, mark text,
        at timestamptz)
), holds AS MATERIALIZED (
    SELECT id, tenant_id, amount_micro AS held_micro, budget_id, subject, state FROM billing_holds
    WHERE id = ANY(%(ids)s) ORDER BY id FOR NO KEY UPDATE
), wallets AS MATERIALIZED (
    SELECT tenant_id FROM billing_wallets
    WHERE tenant_id = ANY(ARRAY(SELECT tenant_id FROM holds WHERE state = 'open'))
    ORDER BY tenant_id FOR NO KEY UPDATE
), ending AS MATERIALIZED (
    SELECT a.*, h.tenant_id, h.held_micro, h.budget_id, h.subject,
        a.amount_micro * 80 / 100 AS developer_micro,
        buyer.id AS buyer_account, developer.id AS developer_account, platform.id AS platform_account
    FROM asked a JOIN holds h ON h.id = a.hold_id JOIN wallets w ON w.tenant_id = h.tenant_id
    JOIN billing_accounts buyer ON buyer.tenant_id = h.tenant_id AND buyer.kind = 'wallet'
    JOIN billing_accounts developer
        ON developer.tenant_id = a.developer_tenant_id AND developer.kind = 'earnings'
    JOIN billing_accounts platform ON platform.tenant_id = 'platform' AND platform.kind = 'revenue'
    WHERE h.state = 'open' AND a.amount_micro BETWEEN 1 AND h.held_micro
), movements AS (
    INSERT INTO billing_transactions (id, tenant_id, key, digest, kind, at, meta)
    SELECT 'txn' || mark, tenant_id, 'settle:' || hold_id, digest, 'settle', at,
        jsonb_build_object('hold_id', hold_id, 'model', usage -> 'model')
    FROM ending
), entries AS (
    INSERT INTO billing_entries (id, transaction_id, account_id, tenant_id, amount_micro, at)
    SELECT 'ent' || e.mark || leg.side, 'txn' || e.mark, leg.account_id, leg.tenant_id, leg.amount, e.at
    FROM ending e, LATERAL (VALUES
        ('b', e.buyer_account, e.tenant_id, -e.amount_micro),
        ('d', e.developer_account, e.developer_tenant_id, e.developer_micro),
        ('p', e.platform_account, 'platform', e.amount_micro - e.developer_micro)
    ) AS leg(side, account_id, tenant_id, amount)
    WHERE leg.amount <> 0
), receipts AS (
    INSERT INTO billing_receipts (id, hold_id, transaction_id, tenant_id, developer_tenant_id, held_micro,
        beyond_micro, charged_micro, returned_micro, developer_micro, platform_micro, subject, usage, digest,
        state, reason, created_at)
    SELECT 'rcp' || mark, hold_id, 'txn' || mark, tenant_id, developer_tenant_id, held_micro, 0, amount_micro,
        held_micro - amount_micro, developer_micro, amount_micro - developer_micro, subject, usage, digest,
        'settled', NULL, at
    FROM ending
    RETURNING *
), ended AS (
    UPDATE billing_holds h SET state = 'settled' FROM ending e WHERE h.id = e.hold_id
), from_wallets AS (
    UPDATE billing_wallets w
    SET balance_micro = w.balance_micro - t.charged, held_micro = w.held_micro - t.held
    FROM (SELECT tenant_id, sum(amount_micro) AS charged, sum(held_micro) AS held FROM ending
        GROUP BY tenant_id) t
    WHERE w.tenant_id = t.tenant_id
), from_budgets AS (
    UPDATE billing_budgets b
    SET spent_micro = b.spent_micro + t.charged, held_micro = b.held_micro - t.held
    FROM (SELECT budget_id, sum(amount_micro) AS charged, sum(held_micro) AS held FROM ending
        GROUP BY budget_id) t
    WHERE b.id = t.budget_id
)
SELECT * FROM receipts
"""


def settle(connection: Swift, rows: Sequence[dict[str, Any]]) -> dict[str, DictRow]:
    """Charge those open holds that cover what they cost, and return their receipts by hold.

    `mark` is the random part of the ids of all that is written for one. A hold may stand once in `rows`. Left
    out is what was ended before or costs nothing or more than its hold, and what would need an account that
    was never used.
    """
    asked = {"rows": orjson.dumps(rows).decode(), "ids": [row["hold_id"] for row in rows]}
    found = connection.execute(_SETTLE, asked).fetchall()
    return {row["hold_id"]: row for row in found}
