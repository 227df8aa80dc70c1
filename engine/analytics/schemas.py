"""Values that cross the door of analytics."""

from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

# What a 64-bit column holds, with room to sum a million of them.
Count = Annotated[int, Field(ge=0, lt=2**43)]

TYPICAL_INPUT, TYPICAL_OUTPUT = 600, 150
"""Tokens of a typical call: a question with a few passages, and an answer of some sentences."""


class UsageEvent(BaseModel):
    """One call to a model: who called what, what it cost, how long it took and how it ended.

    `expert_id` is "base" for the base model, which has no `developer_tenant_id`. Times are milliseconds;
    `first_token_ms` is None when no token came. `outcome` is a short word such as "stop", "length",
    "cancelled" or "failed". `call_id` is its hold's, where it was paid.
    """

    model_config = ConfigDict(frozen=True, from_attributes=True)

    at: AwareDatetime
    tenant_id: str
    person_id: str
    expert_id: str
    expert_name: str
    developer_tenant_id: str | None
    input_tokens: Count
    output_tokens: Count
    charged_micro: Count
    developer_micro: Count
    platform_micro: Count
    latency_ms: Count
    first_token_ms: Count | None
    outcome: str
    call_id: str | None = None


class Recorded(UsageEvent):
    """An event as it was recorded."""

    id: str
