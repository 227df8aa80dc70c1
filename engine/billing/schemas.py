"""Values that cross billing's door. All amounts are integer micro-credits (1 credit = 1,000,000)."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, computed_field


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
    it as well. With `allowance_id` that many `tokens` of a package are set aside instead, and no credits.
    """

    tenant_id: str
    amount_micro: int
    key: str
    subject: dict[str, Any]
    expires_at: datetime
    budget_id: str | None = None
    allowance_id: str | None = None
    tokens: int = 0

    @property
    def scoped_key(self) -> str:
        """The key among those of all tenants."""
        return f"hold:{self.tenant_id}:{self.key}"


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """What a call that was held for has cost, and for what: `usage` comes back on the receipt.

    Where its hold took tokens of a package, `tokens` are counted there, and `amount_micro` is not charged.
    """

    hold_id: str
    amount_micro: int
    developer_tenant_id: str
    usage: dict[str, Any]
    tokens: int = 0

    @property
    def digest(self) -> str:
        """What tells a repeated settlement from another one."""
        return digest_of(self.amount_micro, self.developer_tenant_id, self.usage)


class HoldView(_View):
    """Credits set aside for one call. `digest` tells a retry from another request under the same key.

    Where `allowance_id` is there, `held_tokens` of a package are set aside instead.
    """

    id: str
    tenant_id: str
    amount_micro: int
    allowance_id: str | None = None
    held_tokens: int | None = None
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
    empty for a released hold, which has a `reason` instead. A call that a package paid for charges nothing:
    its usage holds `allowance_id`, `package_tokens`, and `uncovered_tokens` where the package was too small.
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

    @property
    def package_tokens(self) -> int:
        """The tokens that a package paid for; 0 where credits did."""
        return int(self.usage.get("package_tokens", 0))

    @property
    def paid(self) -> bool:
        """Whether the call was paid for, with credits or by a package."""
        return self.charged_micro > 0 or "allowance_id" in self.usage


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


class Package(_View):
    """Tokens of a model, in and out together, for a month at a price. Never changed, only withdrawn."""

    id: str
    subject: str
    tenant_id: str
    title: str
    tokens: int
    price_micro: int
    state: Literal["offered", "withdrawn"]
    by_id: str
    created_at: datetime


class OfferedPackage(NamedTuple):
    """A package, and how many tenants have it now."""

    package: Package
    subscribers: int


class Allowance(_View):
    """The tokens of one paid month: what calls have used of them, and what running calls hold."""

    id: str
    subscription_id: str
    tenant_id: str
    subject: str
    tokens: int
    used_tokens: int
    held_tokens: int
    starts_at: datetime
    ends_at: datetime

    @computed_field  # type: ignore[prop-decorator]
    @property
    def unused(self) -> int:
        """Tokens that no call has used; running calls may hold some of them."""
        return self.tokens - self.used_tokens


Renewal = Literal["renews", "ends", "withdrawn", "unpaid", "ended"]


class Subscription(_View):
    """A package that a tenant has bought, paid up to `ends_at`.

    `state`: "active" goes on by itself; "ending" does not, and lasts to `ends_at`; "unpaid" could not be
    renewed and is tried again at `due_at`; "ended" for `reason`: "cancelled", "withdrawn", "unpaid",
    "off_market" or "replaced". `allowance` is the last one that was paid for.
    """

    id: str
    tenant_id: str
    package_id: str
    subject: str
    person_id: str
    state: Literal["active", "ending", "unpaid", "ended"]
    renews: bool
    reason: str | None
    created_at: datetime
    ends_at: datetime
    due_at: datetime | None
    package: Package
    allowance: Allowance

    @computed_field  # type: ignore[prop-decorator]
    @property
    def renewal(self) -> Renewal:
        """What comes when the month is over: "withdrawn" says that the package is sold no more."""
        if self.state != "active":
            return "ends" if self.state == "ending" else self.state
        return "renews" if self.package.state == "offered" else "withdrawn"


class ExpertEarnings(NamedTuple):
    """What one expert earned for its developer: settled calls, tokens in and out, micro-credits.

    The credits are those of calls and of packages.
    """

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
