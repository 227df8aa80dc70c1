"""Tokens of a package: set aside for a call, counted or freed when it ends. Never more than are left.

Their rows are locked last, after wallets and budgets, in the order of their ids.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from engine.billing import repository_packages as repository
from engine.billing.models_packages import AllowanceRow
from engine.billing.schemas import Allowance, HoldRequest
from engine.kit.errors import InsufficientCredit

lock = repository.lock_allowances


class PackageUsedUp(InsufficientCredit):
    """The package does not cover the call: it is over, or has too few tokens left. Credits may."""


def take(found: Mapping[str, AllowanceRow], one: HoldRequest, at: datetime) -> dict[str, Any]:
    """Set tokens of a locked allowance aside, and return what its hold notes of it.

    Raises PackageUsedUp where it is another's, for another model or over, or does not cover them.
    """
    row = found.get(one.allowance_id or "")
    if (
        row is None
        or (row.tenant_id, row.subject) != (one.tenant_id, one.subject.get("model"))
        or not row.starts_at <= at < row.ends_at
        or not 0 < one.tokens <= row.tokens - row.used_tokens - row.held_tokens
    ):
        raise PackageUsedUp("packages.used_up", needed=f"{one.tokens:,}")
    row.held_tokens += one.tokens
    return {"allowance_id": row.id, "held_tokens": one.tokens}


def give_back(row: AllowanceRow, tokens: int) -> None:
    """Free what a call held of a locked allowance."""
    row.held_tokens -= tokens


def count(row: AllowanceRow, held: int, used: int) -> dict[str, Any]:
    """Free what a call held of a locked allowance, count what it used, and return what its receipt notes.

    What it used beyond what it held counts as far as there are tokens left.
    """
    give_back(row, held)
    counted = min(used, row.tokens - row.used_tokens - row.held_tokens)
    row.used_tokens += counted
    noted = {"allowance_id": row.id, "package_tokens": counted}
    return noted if counted == used else {**noted, "uncovered_tokens": used - counted}


def running(uow: Session, subject: str, tenants: Collection[str], at: datetime) -> dict[str, Allowance]:
    """Return the allowances of tenants for a subject that hold at a moment, by tenant."""
    found = repository.running_allowances(uow, subject, tenants, at)
    return {tenant: Allowance.model_validate(row) for tenant, row in found.items()}


def anybody(uow: Session, subject: str, at: datetime) -> bool:
    """Say whether anybody has an allowance for a subject now."""
    return repository.is_running(uow, subject, at)
