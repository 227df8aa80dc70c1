"""Booking: the one way in which credits move."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from engine.billing import repository
from engine.billing.repository import AccountKey, Standing
from engine.kit.errors import Conflict
from engine.kit.ids import new_id

PLATFORM = "platform"


@dataclass(frozen=True, kw_only=True)
class Movement:
    """Credits that go from accounts to accounts: `legs` are (tenant, kind of account) and amounts.

    The amounts sum to zero. `key` makes a movement happen once; `digest` tells a retry from another request.
    """

    tenant_id: str
    key: str
    digest: str
    kind: str
    legs: Sequence[tuple[AccountKey, int]]
    meta: dict[str, Any] = field(default_factory=dict)


def book(
    uow: Session, movements: Sequence[Movement], *, at: datetime, unheld: Mapping[str, int] | None = None
) -> list[str]:
    """Write movements, move the wallets that have a part in them, and return the movements' ids.

    `unheld` is how much less each tenant's calls hold from now on. Whoever takes credits out of a wallet has
    locked it and knows that they are there; the database refuses the whole if they are not.
    """
    accounts = repository.account_ids(uow, {account for move in movements for account, _ in move.legs})
    heads: list[dict[str, Any]] = []
    entries: list[dict[str, Any]] = []
    changes: defaultdict[str, int] = defaultdict(int)
    for move in movements:
        head_id = new_id("txn")
        heads.append(
            {
                "id": head_id,
                "tenant_id": move.tenant_id,
                "key": move.key,
                "digest": move.digest,
                "kind": move.kind,
                "at": at,
                "meta": move.meta,
            }
        )
        for account, amount in move.legs:
            if not amount:
                continue
            tenant_id, kind = account
            entries.append(
                {
                    "id": new_id("ent"),
                    "transaction_id": head_id,
                    "account_id": accounts[account],
                    "tenant_id": tenant_id,
                    "amount_micro": amount,
                    "at": at,
                }
            )
            if kind == "wallet":
                changes[tenant_id] += amount
    repository.add_movements(uow, heads, entries)
    _move(uow, changes, unheld or {})
    return [head["id"] for head in heads]


def _move(uow: Session, changes: Mapping[str, int], unheld: Mapping[str, int]) -> None:
    tenants = {**changes, **unheld}
    wanted = {t: Standing(changes.get(t, 0), -unheld.get(t, 0)) for t in tenants}
    if repository.move_wallets(uow, wanted) != len(wanted):
        raise RuntimeError("a wallet was not locked before credits were taken out of it")


def booked_before(uow: Session, key: str, digest: str) -> str | None:
    """Return the id of the movement booked under `key`; raise Conflict if it was for another request."""
    movement = repository.transactions(uow, [key]).get(key)
    if movement is None:
        return None
    if movement.digest != digest:
        raise Conflict("billing.key_reused")
    return movement.id
