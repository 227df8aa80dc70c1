"""What the pages of API keys and projects show and do, without Gradio."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from apps.market import key_views
from engine.accounts.schemas import SCOPES, KeyTerms, Person, ProjectTerms, ProjectView
from engine.flows import manage_keys
from engine.flows.manage_keys import KeyStanding
from engine.kit.errors import BadInput, NotFound
from engine.kit.messages import t
from engine.kit.money import format_credits, parse_credits

KEY_FIELDS = (
    "name",
    "scopes",
    "models",
    "ips",
    "expires_at",
    "cap",
    "project",
    "requests_per_minute",
    "tokens_per_minute",
    "parallel",
)
PROJECT_FIELDS = ("name", "requests_per_minute", "tokens_per_minute", "parallel", "requests_per_day")
Choices = list[tuple[str, str]]


def keys(person: Person, language: str) -> str:
    """Return the table of the person's keys."""
    return key_views.keys(manage_keys.keys(person), language)


def live_key(person: Person, key_id: str) -> KeyStanding:
    """Return a key that can still be changed. Raises NotFound."""
    for key in manage_keys.keys(person):
        if key.id == key_id and key.revoked_at is None:
            return key
    raise NotFound("keys.gone")


def project_choices(person: Person, language: str, kept: str | None = None) -> Choices:
    """Return the projects that a key may be given, none first; also one that it has, archived or not."""
    found = [one for one in manage_keys.projects(person) if one.archived_at is None or one.id == kept]
    return [(t("keys.no_project", language), ""), *((one.name, one.id) for one in found)]


def values(key: KeyStanding | None) -> dict[str, Any]:
    """Return what the form's fields hold for a key, or for a new one."""
    if key is None:
        empty: dict[str, Any] = dict.fromkeys(KEY_FIELDS)
        texts = dict.fromkeys(("name", "models", "ips", "expires_at", "cap", "project"), "")
        return {**empty, **texts, "scopes": list(SCOPES)}
    return {
        "name": key.name,
        "scopes": list(key.scopes),
        "models": "\n".join(key.models),
        "ips": "\n".join(key.ips),
        "expires_at": key_views.last_day(key.expires_at),
        "cap": "" if key.cap_micro is None else format_credits(key.cap_micro).replace(",", ""),
        "project": key.project_id or "",
        **{name: getattr(key, name) for name in ("requests_per_minute", "tokens_per_minute", "parallel")},
    }


def terms(given: Mapping[str, Any], before: KeyStanding | None = None) -> dict[str, Any]:
    """Return what a filled form says, under the names of KeyTerms. Raises BadInput naming the field.

    A day that stays as it was keeps its exact end.
    """
    cap = (given["cap"] or "").strip()
    said: dict[str, Any] = {
        "name": given["name"] or "",
        "scopes": tuple(given["scopes"] or ()),
        "models": _entries(given["models"]),
        "ips": _entries(given["ips"]),
        "cap_micro": parse_credits(cap, "cap") if cap else None,
        "project": given["project"] or None,
        **{name: _whole(given[name]) for name in ("requests_per_minute", "tokens_per_minute", "parallel")},
    }
    day = (given["expires_at"] or "").strip()
    if before is None or day != key_views.last_day(before.expires_at):
        said["expires_at"] = _end_of(day) if day else None
    return said


def _entries(text: str | None) -> tuple[str, ...]:
    return tuple(entry for entry in re.split(r"[\s,;，；、]+", text or "") if entry)


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


def _end_of(day: str) -> datetime:
    try:
        return datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=1)
    except (ValueError, OverflowError) as error:
        raise BadInput("keys.bad_day", field="expires_at", day=day[:40]) from error


def create_key(person: Person, given: Mapping[str, Any], language: str) -> str:
    """Make a key and return its secret as HTML, this once. Raises BadInput naming the field."""
    _, secret = manage_keys.create_key(person, KeyTerms(**terms(given)))
    return key_views.secret(secret, language)


def change_key(person: Person, key_id: str, given: Mapping[str, Any]) -> KeyStanding:
    """Change a key to what the form says. Raises BadInput naming the field, NotFound for a dead one."""
    before = live_key(person, key_id)
    manage_keys.change_key(person, key_id, terms(given, before))
    return live_key(person, key_id)


def question(person: Person, what: str, key_id: str, language: str) -> str:
    """Return what "revoke" or "rotate" would do to a live key. Raises NotFound."""
    return key_views.question(what, live_key(person, key_id), language)


def rotate(person: Person, key_id: str, language: str) -> str:
    """Give a key another secret, returned as HTML this once. Raises NotFound for one that is dead."""
    live_key(person, key_id)
    _, secret = manage_keys.rotate_key(person, key_id)
    return key_views.secret(secret, language)


def revoke(person: Person, key_id: str, language: str) -> str:
    """Make a key useless and say so. Raises NotFound for one that is not the person's, or revoked."""
    key = live_key(person, key_id)
    manage_keys.revoke_key(person, key_id)
    return key_views.revoked(key, language)


# Projects


def projects(person: Person, language: str) -> str:
    """Return the table of the tenant's projects."""
    return key_views.projects(manage_keys.projects(person), language)


def live_project(person: Person, project_id: str) -> ProjectView:
    """Return a project that is not archived. Raises NotFound."""
    for project in manage_keys.projects(person):
        if project.id == project_id and project.archived_at is None:
            return project
    raise NotFound("accounts.no_project", project=project_id[:40])


def project_terms(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a filled form says, under the names of ProjectTerms."""
    return {"name": given["name"] or "", **{name: _whole(given[name]) for name in PROJECT_FIELDS[1:]}}


def save_project(person: Person, project_id: str, given: Mapping[str, Any], language: str) -> str:
    """Make a project, or change the one with this id; return that it was done."""
    said = project_terms(given)
    if project_id:
        return key_views.saved(manage_keys.change_project(person, project_id, said).name, language)
    return key_views.saved(manage_keys.create_project(person, ProjectTerms(**said)).name, language)


def archive(person: Person, project_id: str, language: str) -> str:
    """Put a project away and say so. Raises NotFound for one that is gone."""
    found = live_project(person, project_id)
    manage_keys.archive_project(person, project_id)
    return key_views.archived(found.name, language)
