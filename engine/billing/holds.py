"""Calls and their credits: held before, settled or released after. Many calls are handled at once.

Locks are taken in one order everywhere, holds before wallets before budgets before allowances, each sorted
by id, so that no two of these wait for one another.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from engine.billing import allowances, repository, repository_calls
from engine.billing.booking import PLATFORM, Movement, book
from engine.billing.models import Budget, Hold, ReceiptRow
from engine.billing.models_packages import AllowanceRow
from engine.billing.repository import Standing
from engine.billing.schemas import HoldRequest, HoldView, Receipt, Settlement, digest_of
from engine.kit.clock import now
from engine.kit.database import Swift
from engine.kit.errors import BadInput, Conflict, EngineError, InsufficientCredit, NotFound
from engine.kit.ids import new_id
from engine.kit.money import LARGEST, format_credits, split

SWEEP_BATCH = 500


def check_amount(amount_micro: int) -> None:
    """Raise BadInput for an amount that is none."""
    if not 0 <= amount_micro <= LARGEST:
        raise BadInput("billing.bad_amount", field="amount", most=format_credits(LARGEST, 0))


def check_key(key: str) -> None:
    """Raise BadInput for an idempotency key that is empty, too long or not printable."""
    if not (0 < len(key) <= 200 and key.isprintable()):
        raise BadInput("billing.bad_key", field="key")


def hold_many(uow: Session, requests: Sequence[HoldRequest]) -> list[HoldView | EngineError]:
    """Set credits aside for calls, in the order given; a refusal stands in the place of its hold.

    A wallet never holds more than it has, a budget never more than its limit leaves. A retry with the
    same key, amount and subject gets the same hold in its present state. Refusals: InsufficientCredit with
    balance, needed and missing, or with the budget's limit; PackageUsedUp where tokens of a package are asked
    for; Conflict for a key that was used for something else; BadInput for an amount that is none.
    """
    # The locks come before the looks: parallel calls of one wallet queue here, and each then reads what
    # the one before it left, for keys and for credits.
    wallets = repository.lock_wallets(uow, {one.tenant_id for one in requests})
    budgets = repository.lock_budgets(uow, {one.budget_id for one in requests if one.budget_id})
    packed = allowances.lock(uow, {one.allowance_id for one in requests if one.allowance_id})
    rows = repository.holds_by_key(uow, {one.scoped_key for one in requests})
    known = {key: HoldView.model_validate(row) for key, row in rows.items()}
    counter = _Counter(wallets, budgets, packed, known)
    verdicts = [counter.admit(one) for one in requests]
    repository.add_holds(uow, counter.rows)
    changes = {tenant: Standing(0, amount) for tenant, amount in counter.taken.items()}
    if repository.move_wallets(uow, changes) != len(changes):
        raise RuntimeError("a locked wallet has changed")
    uow.flush()
    return verdicts


def hold_ordinary(connection: Swift, requests: Sequence[HoldRequest]) -> list[HoldView | None]:
    """Set credits aside by one statement for the calls that are plainly covered; None for the others.

    Those are `hold_many`'s, which also knows why it refuses.
    """
    at = now()
    rows = [_hold_row(one, digest_of(one.amount_micro, one.subject), at) for one in requests if _sound(one)]
    held = repository_calls.hold(connection, rows) if rows else set()
    by_key = {
        row["key"]: HoldView.model_validate(row | {"state": "open"}) for row in rows if row["id"] in held
    }
    return [by_key.pop(one.scoped_key, None) for one in requests]


def _sound(one: HoldRequest) -> bool:
    return (
        one.allowance_id is None
        and 0 <= one.amount_micro <= LARGEST
        and 0 < len(one.key) <= 200
        and one.key.isprintable()
    )


def _hold_row(one: HoldRequest, digest: str, at: datetime) -> dict[str, Any]:
    return {
        "id": new_id("hold"),
        "tenant_id": one.tenant_id,
        "key": one.scoped_key,
        "digest": digest,
        "amount_micro": one.amount_micro,
        "budget_id": one.budget_id,
        "subject": one.subject,
        "expires_at": one.expires_at,
        "created_at": at,
    }


class _Counter:
    """Decides holds one after the other, knowing what those before have taken."""

    def __init__(
        self,
        wallets: dict[str, Standing],
        budgets: dict[str, Budget],
        packed: dict[str, AllowanceRow],
        known: dict[str, HoldView],
    ) -> None:
        self._free = {tenant: wallet.balance - wallet.held for tenant, wallet in wallets.items()}
        self._budgets = budgets
        self._packed = packed
        self._known = known
        self._digests: dict[str, str] = {}
        self._at = now()
        self.rows: list[dict[str, Any]] = []
        self.taken: defaultdict[str, int] = defaultdict(int)

    def admit(self, one: HoldRequest) -> HoldView | EngineError:
        try:
            return self._admitted(one)
        except EngineError as refusal:
            return refusal

    def _admitted(self, one: HoldRequest) -> HoldView:
        check_key(one.key)
        check_amount(one.amount_micro)
        digest = digest_of(one.amount_micro, one.subject)
        if (known := self._known.get(one.scoped_key)) is not None:
            if known.digest != digest:
                raise Conflict("billing.key_reused")
            return known
        self._check(one)
        tokens: dict[str, Any] = {"allowance_id": None, "held_tokens": None}
        if one.allowance_id:
            tokens = allowances.take(self._packed, one, self._at)
        self._free[one.tenant_id] -= one.amount_micro
        self.taken[one.tenant_id] += one.amount_micro
        if one.budget_id:
            self._budgets[one.budget_id].held_micro += one.amount_micro
        row = _hold_row(one, digest, self._at) | {"state": "open"} | tokens
        self.rows.append(row)
        view = HoldView.model_validate(row)
        self._known[one.scoped_key] = view
        return view

    def _check(self, one: HoldRequest) -> None:
        free = self._free[one.tenant_id]
        if free < one.amount_micro:
            raise InsufficientCredit(
                "billing.insufficient",
                balance=format_credits(free),
                needed=format_credits(one.amount_micro),
                missing=format_credits(one.amount_micro - free),
            )
        if one.budget_id is None:
            return
        budget = self._budgets.get(one.budget_id)
        if budget is None or budget.tenant_id != one.tenant_id:
            raise NotFound("billing.no_budget")
        left = budget.limit_micro - budget.spent_micro - budget.held_micro
        if left < one.amount_micro:
            raise InsufficientCredit(
                "billing.budget_spent",
                limit=format_credits(budget.limit_micro),
                left=format_credits(max(0, left)),
                needed=format_credits(one.amount_micro),
            )


def settle_ordinary(connection: Swift, settlements: Sequence[Settlement]) -> list[Receipt | None]:
    """Charge by one statement the open holds that cover what they cost; None for the others.

    Those are `settle_many`'s.
    """
    at = now()
    rows: dict[str, dict[str, Any]] = {}
    for one in settlements:
        mark = new_id("")
        rows.setdefault(
            one.hold_id,
            {
                "hold_id": one.hold_id,
                "amount_micro": one.amount_micro,
                "developer_tenant_id": one.developer_tenant_id,
                "usage": one.usage,
                "digest": one.digest,
                "mark": mark,
                "at": at,
            },
        )
    sound = [row for row in rows.values() if 0 < row["amount_micro"] <= LARGEST]
    done = repository_calls.settle(connection, sound) if sound else {}
    receipts = {hold_id: Receipt.model_validate(row) for hold_id, row in done.items()}
    return [receipts.pop(one.hold_id, None) for one in settlements]


def settle_many(uow: Session, settlements: Sequence[Settlement]) -> list[Receipt | EngineError]:
    """Charge holds, in the order given; a refusal stands in the place of its receipt.

    80% goes to the developer, the rest to the platform. What a call costs beyond its hold is taken from
    what is free in the wallet and left by the budget, and only as far as that goes: `uncovered_micro` in
    the receipt's usage says what was not paid. Settling again with the same values gets the same receipt; a
    hold that was released meanwhile stays released, and its receipt says so. Refusals: Conflict for a hold
    that was settled with other values, NotFound for an unknown one, BadInput for an amount that is none.
    """
    holds = repository.lock_holds(uow, {one.hold_id for one in settlements})
    ended = repository.receipts_of_holds(uow, [h.id for h in holds.values() if h.state != "open"])
    closing = _Closing(uow, [holds[one.hold_id] for one in settlements if one.hold_id in holds])
    verdicts: list[Receipt | EngineError] = []
    for one in settlements:
        try:
            check_amount(one.amount_micro)
            hold = holds.get(one.hold_id)
            if hold is None:
                raise NotFound("billing.no_hold", id=one.hold_id[:40])
            verdicts.append(_again(one, ended) if one.hold_id in ended else closing.settle(hold, one))
        except EngineError as refusal:
            verdicts.append(refusal)
    closing.write()
    return verdicts


def _again(one: Settlement, ended: dict[str, ReceiptRow]) -> Receipt:
    row = ended[one.hold_id]
    if row.state == "settled" and row.digest not in ("", one.digest):
        raise Conflict("billing.key_reused")
    return Receipt.model_validate(row)


class _Closing:
    """Ends of locked holds, worked out first and then written all at once."""

    def __init__(self, uow: Session, holds: Sequence[Hold]) -> None:
        self._uow = uow
        self._at = now()
        self._wallets = repository.lock_wallets(uow, {hold.tenant_id for hold in holds})
        self._budgets = repository.lock_budgets(uow, {hold.budget_id for hold in holds if hold.budget_id})
        self._packed = allowances.lock(uow, {hold.allowance_id for hold in holds if hold.allowance_id})
        self._free = {tenant: wallet.balance - wallet.held for tenant, wallet in self._wallets.items()}
        self._movements: list[Movement] = []
        self._moved: list[dict[str, Any]] = []
        self._receipts: list[dict[str, Any]] = []
        self._states: dict[str, str] = {}
        self._unheld: defaultdict[str, int] = defaultdict(int)
        self._done: dict[str, tuple[str, Receipt]] = {}

    def settle(self, hold: Hold, one: Settlement) -> Receipt:
        """End a hold by charging it."""
        if hold.id in self._done:
            digest, receipt = self._done[hold.id]
            if digest != one.digest:
                raise Conflict("billing.key_reused")
            return receipt
        if hold.allowance_id:
            noted = allowances.count(self._packed[hold.allowance_id], hold.held_tokens or 0, one.tokens)
            whose = {"developer_tenant_id": one.developer_tenant_id, "usage": one.usage | noted}
            return self._end(hold, "settled", digest=one.digest, **whose)
        beyond = min(max(0, one.amount_micro - hold.amount_micro), max(0, self._room(hold)))
        charged = min(one.amount_micro, hold.amount_micro + beyond)
        usage = dict(one.usage)
        if charged < one.amount_micro:
            usage["uncovered_micro"] = one.amount_micro - charged
        developer, platform = split(charged)
        if charged:
            tenant = hold.tenant_id
            legs = (
                ((tenant, "wallet"), -charged),
                ((one.developer_tenant_id, "earnings"), developer),
                ((PLATFORM, "revenue"), platform),
            )
            meta = {"hold_id": hold.id, "model": usage.get("model")}
            key = f"settle:{hold.id}"
            self._movements.append(
                Movement(tenant_id=tenant, key=key, digest=one.digest, kind="settle", legs=legs, meta=meta)
            )
        split_up = {
            "developer_tenant_id": one.developer_tenant_id,
            "charged_micro": charged,
            "beyond_micro": beyond,
            "developer_micro": developer,
            "platform_micro": platform,
            "usage": usage,
            "digest": one.digest,
        }
        return self._end(hold, "settled", **split_up)

    def release(self, hold: Hold, reason: str) -> Receipt:
        """End a hold by giving it back whole."""
        if hold.allowance_id:
            allowances.give_back(self._packed[hold.allowance_id], hold.held_tokens or 0)
        return self._end(hold, "released", reason=reason)

    def _room(self, hold: Hold) -> int:
        """What a call may cost beyond its hold."""
        free = self._free[hold.tenant_id]
        if hold.budget_id:
            budget = self._budgets[hold.budget_id]
            free = min(free, budget.limit_micro - budget.spent_micro - budget.held_micro)
        return free

    def _end(self, hold: Hold, state: str, **changes: Any) -> Receipt:
        charged = changes.get("charged_micro", 0)
        beyond = changes.get("beyond_micro", 0)
        row = {
            "id": new_id("rcp"),
            "hold_id": hold.id,
            "transaction_id": None,
            "tenant_id": hold.tenant_id,
            "developer_tenant_id": None,
            "held_micro": hold.amount_micro,
            "beyond_micro": 0,
            "charged_micro": 0,
            "returned_micro": hold.amount_micro + beyond - charged,
            "developer_micro": 0,
            "platform_micro": 0,
            "subject": hold.subject,
            "usage": {},
            "digest": "",
            "state": state,
            "reason": None,
            "created_at": self._at,
            **changes,
        }
        self._receipts.append(row)
        if charged:
            self._moved.append(row)
        self._states[hold.id] = state
        self._unheld[hold.tenant_id] += hold.amount_micro
        self._free[hold.tenant_id] += hold.amount_micro - charged
        if hold.budget_id:
            budget = self._budgets[hold.budget_id]
            budget.held_micro -= hold.amount_micro
            budget.spent_micro += charged
        receipt = Receipt.model_validate(row)
        self._done[hold.id] = (row["digest"], receipt)
        return receipt

    def write(self) -> None:
        """Write what was worked out."""
        if not self._receipts:
            return
        ids = book(self._uow, self._movements, at=self._at, unheld=self._unheld)
        for row, movement_id in zip(self._moved, ids, strict=True):
            row["transaction_id"] = movement_id
        repository.add_receipts(self._uow, self._receipts)
        repository.end_holds(self._uow, self._states)
        self._uow.flush()


def release_many(uow: Session, reasons: dict[str, str]) -> list[Receipt]:
    """Give holds back whole, each with its reason, in the order given.

    One that has ended already stays as it is; the receipt's state says how. Raises NotFound for an
    unknown hold.
    """
    holds = repository.lock_holds(uow, reasons)
    for hold_id in reasons:
        if hold_id not in holds:
            raise NotFound("billing.no_hold", id=hold_id[:40])
    ended = repository.receipts_of_holds(uow, [h.id for h in holds.values() if h.state != "open"])
    closing = _Closing(uow, [hold for hold in holds.values() if hold.id not in ended])
    receipts = [
        Receipt.model_validate(ended[hold_id])
        if hold_id in ended
        else closing.release(holds[hold_id], reason)
        for hold_id, reason in reasons.items()
    ]
    closing.write()
    return receipts


def sweep(uow: Session, at: datetime) -> int:
    """Release open holds that expired by `at`, at most 500 a time; return how many.

    Several sweeps may run at once: each passes over the holds that another, or a settlement, has in hand.
    """
    expired = repository.lock_expired_holds(uow, at, SWEEP_BATCH)
    closing = _Closing(uow, expired)
    for hold in expired:
        closing.release(hold, "expired")
    closing.write()
    return len(expired)
