"""Values that cross billing's door. All amounts are integer micro-credits (1 credit = 1,000,000)."""

from datetime import datetime
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict


class _View(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class EntryView(_View):
    """One leg of a movement as a tenant sees it.

    `account` is "wallet", "held" or "earnings"; `kind` is what moved it: "top_up", "hold", "settle" or
    "release"; `meta` is what the movement was for.
    """

    id: str
    transaction_id: str
    tenant_id: str
    account: str
    kind: str
    amount_micro: int
    at: datetime
    meta: dict[str, Any]


class HoldView(_View):
    """Credits set aside for one call."""

    id: str
    tenant_id: str
    amount_micro: int
    subject: dict[str, Any]
    state: Literal["open", "settled", "released"]
    expires_at: datetime
    created_at: datetime


class Receipt(_View):
    """How a hold ended.

    `charged + returned == held` and `developer + platform == charged`. `usage` holds model, input_tokens,
    output_tokens, input_price_micro, output_price_micro and finish; it is empty for a released hold, which
    has a `reason` instead.
    """

    id: str
    hold_id: str
    tenant_id: str
    held_micro: int
    charged_micro: int
    returned_micro: int
    developer_micro: int
    platform_micro: int
    usage: dict[str, Any]
    state: Literal["settled", "released"]
    reason: str | None
    created_at: datetime


class ExpertEarnings(NamedTuple):
    """What one expert earned for its developer: settled calls, tokens in and out, micro-credits."""

    name: str
    calls: int
    tokens: int
    micro: int
