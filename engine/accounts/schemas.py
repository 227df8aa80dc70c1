"""Values of this room that cross its door."""

from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, ConfigDict

ROLES = ("developer", "consumer", "evaluator", "checker", "reviewer", "operator", "stakeholder")
SCOPES = ("chat", "embeddings", "account")
"""What a key may do: ask experts, turn texts into vectors, all the rest; the first two also list models."""


class Person(BaseModel):
    """Who is asking. Every handler takes one."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    id: str
    tenant_id: str
    email: str
    name: str
    roles: frozenset[str]
    language: str = "en"


class ApiKeyView(BaseModel):
    """What may be shown of an API key; the secret is shown once, at its making."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    id: str
    name: str
    prefix: str
    scopes: tuple[str, ...]
    models: tuple[str, ...]
    ips: tuple[str, ...]
    expires_at: datetime | None
    project_id: str | None
    requests_per_minute: int | None
    tokens_per_minute: int | None
    parallel: int | None
    cap_micro: int | None
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None

    @property
    def budget_id(self) -> str | None:
        """Return the budget that calls of this key are charged to; None for a key without a cap."""
        return None if self.cap_micro is None else f"key:{self.id}"

    @property
    def limited(self) -> bool:
        """Return whether anything is kept from whoever has this key that its person may do."""
        bounds = (
            self.expires_at,
            self.project_id,
            self.requests_per_minute,
            self.tokens_per_minute,
            self.parallel,
            self.cap_micro,
        )
        some = any(bound is not None for bound in bounds)
        return some or bool(self.models or self.ips) or set(self.scopes) != set(SCOPES)


@dataclass(frozen=True, kw_only=True)
class KeyTerms:
    """What a key is called and what it may be used for; `project` is the id or the name of one.

    Empty `models` or `ips` allow all of them; None is no limit.
    """

    name: str
    scopes: tuple[str, ...] = SCOPES
    models: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()
    expires_at: datetime | None = None
    project: str | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    parallel: int | None = None
    cap_micro: int | None = None


class ProjectView(BaseModel):
    """A project and its limits, None where there is none."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    id: str
    tenant_id: str
    name: str
    requests_per_minute: int | None
    tokens_per_minute: int | None
    parallel: int | None
    requests_per_day: int | None
    created_at: datetime
    archived_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class ProjectTerms:
    """What a project is called, and its limits; None is no limit."""

    name: str
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    parallel: int | None = None
    requests_per_day: int | None = None


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who calls, with what, for what: made for every call.

    `key` is None for somebody with a session, `project` where the call belongs to none; `plan` is the name
    of the tenant's.
    """

    person: Person
    key: ApiKeyView | None = None
    project: ProjectView | None = None
    plan: str


class TenantView(BaseModel):
    """An organisation and its plan."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    id: str
    name: str
    plan: str
    created_at: datetime
