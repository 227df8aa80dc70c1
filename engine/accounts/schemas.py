"""Values of this room that cross its door."""

from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, ConfigDict

ROLES = ("developer", "consumer", "evaluator", "checker", "reviewer", "operator", "stakeholder")


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
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


class TenantView(BaseModel):
    """An organisation and its plan."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    id: str
    name: str
    plan: str
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who calls: a person, by an API key or (None) by the session of the pages, and the tenant's plan."""

    person: Person
    key: ApiKeyView | None = None
    plan: str
