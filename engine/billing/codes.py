"""Codes that are redeemed for credits: made by an operator, shown once, kept as hashes, redeemed once."""

import hashlib
import secrets
import unicodedata
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from engine.billing import repository_cash, top_ups
from engine.billing.models import CodeTry
from engine.billing.schemas import CodeBatch, EntryView, digest_of
from engine.kit.clock import now
from engine.kit.errors import BadInput, Conflict, EngineError, NotFound, TooMany
from engine.kit.ids import new_id

ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
"""Without 0 and O, 1, I and L, which people take for one another."""
PREFIX, GROUPS, GROUP = "MBE", 3, 4
MOST_CODES = 1_000
MOST_DAYS = 730
WRONG_TRIES = 10
TRIES_WITHIN = timedelta(hours=1)


def make(uow: Session, *, count: int, amount_micro: int, days: int, by_id: str) -> list[str]:
    """Make codes of an amount that can be redeemed for so many days; they can never be read again.

    Raises BadInput naming `count`, `amount` or `days`.
    """
    if not 1 <= count <= MOST_CODES:
        raise BadInput("cash.code_count", field="count", most=f"{MOST_CODES:,}")
    if not 1 <= days <= MOST_DAYS:
        raise BadInput("cash.code_days", field="days", most=MOST_DAYS)
    top_ups.check_amount(amount_micro)
    at, batch_id, made = now(), new_id("bat"), [_new() for _ in range(count)]
    rows = [
        {
            "id": new_id("code"),
            "batch_id": batch_id,
            "hash": _hash(code),
            "amount_micro": amount_micro,
            "by_id": by_id,
            "expires_at": at + timedelta(days=days),
            "created_at": at,
        }
        for code in made
    ]
    repository_cash.add_codes(uow, rows)
    return made


def batches(uow: Session, limit: int = 50) -> list[CodeBatch]:
    """Return what was made of codes, newest first."""
    return repository_cash.code_batches(uow, limit)


def redeem(uow: Session, *, tenant_id: str, person_id: str, code: str) -> EntryView | EngineError:
    """Add a code's credits to a wallet; a refusal is returned, so that the try it was can be kept.

    Of two people who redeem one code at once one gets it. Refusals: NotFound naming `code` for one that is
    none, Conflict for one that was redeemed or has expired, TooMany after 10 wrong tries within an hour.
    """
    repository_cash.lock_tries(uow, person_id)
    at = now()
    tries = repository_cash.wrong_tries(uow, person_id, at - TRIES_WITHIN)
    if len(tries) >= WRONG_TRIES:
        left = tries[-WRONG_TRIES] + TRIES_WITHIN - at
        seconds = max(1, round(left.total_seconds()))
        return TooMany("cash.code_tries", field="code", retry_after=seconds, minutes=-(-seconds // 60))
    plain = _plain(code)
    row = repository_cash.lock_code(uow, _hash(plain)) if plain else None
    if row is None:
        _remember(uow, person_id, at)
        return NotFound("cash.no_code", field="code")
    if row.redeemed_by_id == person_id:
        return Conflict("cash.code_yours", field="code")
    if row.redeemed_by_id is not None:
        _remember(uow, person_id, at)
        return Conflict("cash.code_used", field="code")
    if row.expires_at <= at:
        return Conflict("cash.code_expired", field="code", day=f"{row.expires_at:%Y-%m-%d}")
    entry = top_ups.add(
        uow,
        tenant_id=tenant_id,
        amount_micro=row.amount_micro,
        key=f"code:{row.id}",
        digest=digest_of(row.id, person_id),
        meta={"source": "code", "by": person_id, "code_id": row.id},
    )
    row.redeemed_by_id, row.redeemed_at, row.transaction_id = person_id, at, entry.transaction_id
    repository_cash.add(uow, row)
    return entry


def _remember(uow: Session, person_id: str, at: datetime) -> None:
    repository_cash.add_try(uow, CodeTry(id=new_id("try"), person_id=person_id, at=at))


def _new() -> str:
    groups = ("".join(secrets.choice(ALPHABET) for _ in range(GROUP)) for _ in range(GROUPS))
    return "-".join((PREFIX, *groups))


def _plain(typed: str) -> str | None:
    """Return a code as it was made, whatever case, blanks and dashes somebody typed; None if it is none."""
    wide = unicodedata.normalize("NFKC", typed[:100]).upper()
    found = "".join(sign for sign in wide if sign.isalnum()).removeprefix(PREFIX)
    if len(found) != GROUPS * GROUP or set(found) - set(ALPHABET):
        return None
    return "-".join((PREFIX, *(found[n : n + GROUP] for n in range(0, len(found), GROUP))))


def _hash(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()
