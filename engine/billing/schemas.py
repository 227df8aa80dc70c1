"""Values that cross billing's door. All amounts are integer micro-credits (1 credit = 1,000,000)."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field


class _View(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class EntryView(_View):
    """One leg of a movement as a tenant sees it.

    `account` is "wallet", "earnings", "payouts_pending" or "owed"; `kind` is what moved it: "top_up",
    "settle", "training", "refund", "reversal" or "payout"; `meta` is what the movement was for.
    """

    id: str
    transaction_id: str
    tenant_id: str
    account: str
    kind: str
    amount_micro: int
    at: datetime
    meta: dict[str, Any]


def digest_of(*body: object) -> str:
    """Return what tells a repeated request from another one under the same key."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class HoldRequest:
    """Credits to set aside for one call: at most once per `key` of the tenant.

    `subject` says what for, and comes back on the receipt. `budget_id` names the budget that has to cover
    it as well.
    """

    tenant_id: str
    amount_micro: int
    key: str
    subject: dict[str, Any]
    expires_at: datetime
    budget_id: str | None = None

    @property
    def scoped_key(self) -> str:
        """The key among those of all tenants."""
        return f"hold:{self.tenant_id}:{self.key}"


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """What a call that was held for has cost, and for what: `usage` comes back on the receipt."""

    hold_id: str
    amount_micro: int
    developer_tenant_id: str
    usage: dict[str, Any]

    @property
    def digest(self) -> str:
        """What tells a repeated settlement from another one."""
        return digest_of(self.amount_micro, self.developer_tenant_id, self.usage)


class HoldView(_View):
    """Credits set aside for one call. `digest` tells a retry from another request under the same key."""

    id: str
    tenant_id: str
    amount_micro: int
    subject: dict[str, Any]
    digest: str = Field(exclude=True, repr=False)
    state: Literal["open", "settled", "released"]
    expires_at: datetime
    created_at: datetime


class Receipt(_View):
    """How a hold ended.

    `charged + returned == held + beyond`, where `beyond` is what the call cost more than was held for it, and
    `developer + platform == charged`. `subject` is what the hold was for; `usage` holds model, input_tokens,
    output_tokens, the price and finish, and `uncovered_micro` where the wallet could not pay all. It is
    empty for a released hold, which has a `reason` instead.
    """

    id: str
    hold_id: str
    tenant_id: str
    held_micro: int
    beyond_micro: int
    charged_micro: int
    returned_micro: int
    developer_micro: int
    platform_micro: int
    subject: dict[str, Any]
    usage: dict[str, Any]
    state: Literal["settled", "released"]
    reason: str | None
    created_at: datetime


class Refund(_View):
    """Credits given back on a receipt; `developer + platform == amount` was taken back from both."""

    id: str
    receipt_id: str
    tenant_id: str
    amount_micro: int
    developer_micro: int
    platform_micro: int
    reason: str
    by_id: str
    created_at: datetime


class Tier(_View):
    """Prices for a tenant that used at least `from_tokens` tokens in the calendar month before the call."""

    from_tokens: int = Field(ge=1)
    input_micro: int = Field(ge=0)
    output_micro: int = Field(ge=0)


class Price(_View):
    """One version of a price: micro-credits per 1,000 tokens in and out, per call, and the least."""

    id: str
    subject: str
    number: int
    input_micro: int
    output_micro: int
    call_micro: int
    minimum_micro: int
    tiers: Sequence[Tier]
    by_id: str
    created_at: datetime


HOUR_MS = 3_600_000


class Rates(NamedTuple):
    """What an hour of a processor and one of a GPU cost, in micro-credits."""

    cpu_hour_micro: int
    gpu_hour_micro: int

    @property
    def free(self) -> bool:
        """True when machine time costs nothing."""
        return not any(self)

    def cost(self, cpu_ms: int, gpu_ms: int) -> int:
        """Return what times in milliseconds cost; a started micro-credit counts as a whole one."""
        return -(-(cpu_ms * self.cpu_hour_micro + gpu_ms * self.gpu_hour_micro) // HOUR_MS)


class MeterView(_View):
    """A meter: what it measured in milliseconds, what of its cost was paid, and what was not."""

    key: str
    tenant_id: str
    work_id: str
    subject: dict[str, Any]
    cpu_ms: int
    gpu_ms: int
    charged_micro: int
    unpaid_micro: int
    state: Literal["running", "closed"]


class ExpertEarnings(NamedTuple):
    """What one expert earned for its developer: settled calls, tokens in and out, micro-credits."""

    name: str
    calls: int
    tokens: int
    micro: int


class CodeBatch(NamedTuple):
    """Codes that were made together: how many, how many of them are redeemed, what each is worth."""

    id: str
    made: int
    redeemed: int
    amount_micro: int
    by_id: str
    expires_at: datetime
    created_at: datetime


class Order(_View):
    """Credits that are bought: `amount_minor` in the currency's smallest unit is what they cost.

    `state` is "open" until the provider says that it was paid, and "reversed" once all was taken back. `url`
    is where it is paid.
    """

    id: str
    tenant_id: str
    person_id: str
    amount_micro: int
    amount_minor: int
    currency: str
    reversed_minor: int
    state: Literal["open", "paid", "reversed"]
    reference: str | None
    url: str | None
    created_at: datetime
    paid_at: datetime | None


class PaymentEvent(_View):
    """What a payment provider tells about an order: it was paid, or so much of it was taken back."""

    id: str
    kind: Literal["paid", "reversed"]
    order_id: str
    reference: str
    amount_minor: int
    currency: str

    @property
    def digest(self) -> str:
        """What tells a repeated event from another one under the same id."""
        return digest_of(self.kind, self.order_id, self.reference, self.amount_minor, self.currency)


PayoutState = Literal["requested", "approved", "paid", "rejected", "cancelled"]


class Payout(_View):
    """Earnings that are to be paid out: where to, how far it is, and who did what when.

    `history` holds {"state", "at", "by", "note"}, oldest first; `reference` is the transfer's own.
    """

    id: str
    tenant_id: str
    person_id: str
    amount_micro: int
    destination: str
    state: PayoutState
    reference: str | None
    history: Sequence[dict[str, Any]]
    created_at: datetime
