"""Values that cross the market's door. Prices are integer micro-credits per 1,000 tokens."""

from collections.abc import Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

CATEGORIES = (
    "customer-service",
    "legal",
    "health",
    "finance",
    "education",
    "engineering",
    "writing",
    "other",
)
"""Each has its words in the message catalog, as `market.category_<category>`."""

SORTS = ("new", "popular", "price")


class PersonLike(Protocol):
    """What the market needs to know of a person who looks or acts."""

    @property
    def id(self) -> str: ...
    @property
    def tenant_id(self) -> str: ...
    @property
    def roles(self) -> Set[str]: ...


@dataclass(frozen=True)
class Actor:
    """A `PersonLike` that is not somebody's account."""

    id: str
    tenant_id: str
    roles: frozenset[str]


SYSTEM = Actor(id="system", tenant_id="", roles=frozenset({"system"}))
"""The platform itself: it sees every expert and records test results."""


class ExpertView(BaseModel):
    """One version of an expert. `name` is its public model id; `quality` is the last test, with "passed".

    It speaks with an adapter, or with a prompt of its developer's: `template`, which is told to nobody.
    """

    model_config = ConfigDict(frozen=True, from_attributes=True)

    id: str
    tenant_id: str
    owner_id: str
    name: str
    title: str
    description: str
    category: str
    tags: list[str]
    version: str
    state: str
    input_price_micro: int
    output_price_micro: int
    example: str
    run_id: str
    adapter_prefix: str
    template: str = Field("", exclude=True, repr=False)
    base_model: str
    knowledge_base_ids: list[str]
    knowledge_tenant_id: str
    quality: dict[str, Any] | None
    published_at: datetime | None
    created_at: datetime
    calls: int
    tokens: int


class StateChange(BaseModel):
    """One step of an expert's history; `from_state` is None for its registration."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    from_state: str | None
    to_state: str
    by_id: str
    reason: str
    at: datetime
