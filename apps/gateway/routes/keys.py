"""API keys and projects."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from apps.gateway.identity import Caller, Keeper
from engine.accounts.schemas import SCOPES, ApiKeyView, KeyTerms, ProjectTerms, ProjectView
from engine.flows import manage_keys
from engine.flows.manage_keys import KeyStanding
from engine.kit.money import parse_credits

router = APIRouter(prefix="/api", tags=["keys"])


class Given(BaseModel):
    """What is sent. A misspelt limit is refused: it would be none."""

    model_config = ConfigDict(extra="forbid")


class KeyLimits(Given):
    """What a key may be used for; `cap` is in credits, `project` an id or a name."""

    scopes: list[str] = list(SCOPES)
    models: list[str] = []
    ips: list[str] = []
    expires_at: datetime | None = None
    project: str | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    parallel: int | None = None
    cap: str | None = None

    def changes(self) -> dict[str, Any]:
        """Return what was sent, under the names of KeyTerms."""
        sent = self.model_dump(exclude_unset=True)
        for name in {"scopes", "models", "ips"} & sent.keys():
            sent[name] = tuple(sent[name])
        if "cap" in sent:
            cap = sent.pop("cap")
            sent["cap_micro"] = None if cap is None else parse_credits(cap, "cap")
        return sent


class KeyGiven(KeyLimits):
    """A key to be made."""

    name: str


class KeyChange(KeyLimits):
    """What is to be another way; what is left out stays."""

    name: str = ""


class NewKey(ApiKeyView):
    """A key and its secret, which is shown this once."""

    secret: str


class ProjectLimits(Given):
    """The limits of a project; null is none."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    parallel: int | None = None
    requests_per_day: int | None = None


class ProjectGiven(ProjectLimits):
    """A project to be made."""

    name: str


class ProjectChange(ProjectLimits):
    """What is to be another way; what is left out stays."""

    name: str = ""


@router.get("/keys")
def keys(caller: Caller) -> list[KeyStanding]:
    """List my API keys, and what was spent of their caps."""
    return manage_keys.keys(caller)


@router.get("/keys/{key_id}")
def key(key_id: str, caller: Caller) -> KeyStanding:
    """Show one of my API keys."""
    return manage_keys.key(caller, key_id)


@router.post("/keys", status_code=201)
def create_key(given: KeyGiven, caller: Keeper) -> NewKey:
    """Make an API key."""
    view, secret = manage_keys.create_key(caller, KeyTerms(**given.changes()))
    return NewKey(**view.model_dump(), secret=secret)


@router.patch("/keys/{key_id}")
def change_key(key_id: str, given: KeyChange, caller: Keeper) -> KeyStanding:
    """Change what an API key may be used for, from the next call on."""
    manage_keys.change_key(caller, key_id, given.changes())
    return manage_keys.key(caller, key_id)


@router.post("/keys/{key_id}/rotate")
def rotate_key(key_id: str, caller: Keeper) -> NewKey:
    """Give an API key another secret; the old one is dead at once."""
    view, secret = manage_keys.rotate_key(caller, key_id)
    return NewKey(**view.model_dump(), secret=secret)


@router.delete("/keys/{key_id}")
def revoke_key(key_id: str, caller: Keeper) -> dict[str, bool]:
    """Revoke an API key at once."""
    manage_keys.revoke_key(caller, key_id)
    return {"revoked": True}


@router.get("/projects")
def projects(caller: Caller) -> list[ProjectView]:
    """List my tenant's projects, archived ones included."""
    return manage_keys.projects(caller)


@router.post("/projects", status_code=201)
def create_project(given: ProjectGiven, caller: Keeper) -> ProjectView:
    """Make a project."""
    return manage_keys.create_project(caller, ProjectTerms(**given.model_dump()))


@router.patch("/projects/{project_id}")
def change_project(project_id: str, given: ProjectChange, caller: Keeper) -> ProjectView:
    """Change a project's name or limits."""
    return manage_keys.change_project(caller, project_id, given.model_dump(exclude_unset=True))


@router.delete("/projects/{project_id}")
def archive_project(project_id: str, caller: Keeper) -> dict[str, bool]:
    """Archive a project; its keys are refused from now on."""
    manage_keys.archive_project(caller, project_id)
    return {"archived": True}
