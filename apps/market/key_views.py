"""HTML of API keys and projects."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from html import escape
from urllib.parse import urlencode

from apps import cards
from apps.cards import Html
from apps.market.views import copyable
from engine.accounts.schemas import ProjectView
from engine.flows.manage_keys import KeyStanding
from engine.kit.clock import now
from engine.kit.messages import t
from engine.kit.money import format_credits


def _t(key: str, language: str, **facts: object) -> str:
    return escape(t(f"keys.{key}", language, **facts))


def address(language: str, page: str = "keys", **query: str) -> str:
    """Return the address of the keys or the projects, or of one of them."""
    return f"/{language}/market/{page}" + (f"?{urlencode(query)}" if query else "")


def last_day(at: datetime | None) -> str:
    """Return the last day (UTC) of a key that ends then; nothing for one without an end."""
    return "" if at is None else (at - timedelta(microseconds=1)).strftime("%Y-%m-%d")


def heading(language: str) -> str:
    """Return the title of the keys with the way to the projects."""
    way = f'<a href="{address(language, "projects")}">{_t("to_projects", language)}</a>'
    return f"<h1>{_t('title', language)}</h1><p class='mbe-muted'>{_t('why', language)} {way}</p>"


def keys(found: Sequence[KeyStanding], language: str) -> str:
    """Return the table of keys; the name of a live one leads to its terms."""
    if not found:
        return cards.empty(t("keys.none", language))
    columns = ("name", "scopes", "project", "spent", "expires", "last_used", "state")
    rows: list[list[cards.Cell]] = [
        [
            _name(key, language),
            _scopes(key, language),
            key.project or cards.muted("–"),
            _spent(key, language),
            _expires(key, language),
            _last_used(key, language),
            state(key, language),
        ]
        for key in found
    ]
    return cards.table([t(f"keys.{name}", language) for name in columns], rows, t("keys.title", language))


def _name(key: KeyStanding, language: str) -> Html:
    starts = f"<br>{cards.code(f'{key.prefix}…').text}"
    if key.revoked_at is not None:
        return Html(escape(key.name) + starts, key.name)
    return Html(cards.link(address(language, key=key.id), key.name).text + starts, key.name)


def _scopes(key: KeyStanding, language: str) -> Html:
    words = t("keys.comma", language).join(t(f"keys.scope_{scope}", language) for scope in key.scopes)
    return Html(f'<div class="mbe-scopes">{escape(words)}</div>', words)


def _spent(key: KeyStanding, language: str) -> Html:
    if key.cap_micro is None:
        return Html(cards.muted(t("keys.no_cap", language)).text, -1)
    words = t(
        "keys.spent_of",
        language,
        spent=format_credits(key.spent_micro),
        cap=t("money.unit", language, amount=format_credits(key.cap_micro)),
    )
    return Html(f'<span class="mbe-num">{escape(words)}</span>', key.spent_micro)


def _expires(key: KeyStanding, language: str) -> Html:
    if key.expires_at is None:
        return Html(cards.muted(t("keys.endless", language)).text, 0)
    exact = key.expires_at.strftime("%Y-%m-%d %H:%M:%S UTC")
    day = f'<time datetime="{key.expires_at.isoformat()}" title="{exact}">{last_day(key.expires_at)}</time>'
    return Html(day, key.expires_at.timestamp())


def _last_used(key: KeyStanding, language: str) -> Html:
    if key.last_used_at is None:
        return Html(cards.muted(t("keys.never", language)).text, 0)
    return cards.moment(key.last_used_at, language)


def state(key: KeyStanding, language: str) -> Html:
    """Return whether a key is in use, revoked or expired."""
    if key.revoked_at is not None:
        return cards.state(t("keys.revoked", language), "calm")
    if key.expires_at is not None and key.expires_at <= now():
        return cards.state(t("keys.expired", language), "bad")
    return cards.state(t("keys.live", language), "good")


def detail(key: KeyStanding, language: str) -> str:
    """Return the head of one key: how it stands, and the ways to rotate and to revoke it."""
    facts = [
        (t("keys.state", language), state(key, language)),
        (t("keys.starts", language), cards.code(f"{key.prefix}…")),
        (t("keys.spent", language), _spent(key, language)),
        (t("keys.last_used", language), _last_used(key, language)),
    ]
    ways = " · ".join(
        cards.link(address(language, **{what: key.id}), t(f"keys.{what}", language)).text
        for what in ("rotate", "revoke")
    )
    back = f'<a class="mbe-back" href="{address(language)}">← {_t("title", language)}</a>'
    return f"{back}<h1>{escape(key.name)}</h1>{cards.tiles(facts)}<p class='mbe-ways'>{ways}</p>"


def secret(value: str, language: str) -> str:
    """Return a key's new secret, this once."""
    return f'<div class="mbe-card">{copyable(value, language, t("keys.secret_once", language))}</div>'


def question(what: str, key: KeyStanding, language: str) -> str:
    """Return what "rotate" or "revoke" would do."""
    back = f'<a class="mbe-back" href="{address(language, key=key.id)}">← {_t("leave", language)}</a>'
    return f"{back}<p>{_t(f'{what}_ask', language, name=key.name)}</p>"


def revoked(key: KeyStanding, language: str) -> str:
    """Return that a key is useless now."""
    return cards.note(t("keys.revoked_done", language, name=key.name), "good")


# Projects


def projects_heading(language: str) -> str:
    """Return the title of the projects with the way back to the keys."""
    back = f'<a class="mbe-back" href="{address(language)}">← {_t("title", language)}</a>'
    return f"{back}<h1>{_t('projects', language)}</h1><p class='mbe-muted'>{_t('projects_why', language)}</p>"


def projects(found: Sequence[ProjectView], language: str) -> str:
    """Return the table of projects; the name of a live one leads to its terms."""
    if not found:
        return cards.empty(t("keys.no_projects", language))
    columns = ("requests_per_minute", "tokens_per_minute", "parallel", "requests_per_day")
    rows: list[list[cards.Cell]] = [
        [
            cards.link(address(language, "projects", project=one.id), one.name)
            if one.archived_at is None
            else one.name,
            *(_limit(getattr(one, column), language) for column in columns),
            cards.code(one.id),
            cards.state(t("keys.live", language), "good")
            if one.archived_at is None
            else cards.state(t("keys.archived", language), "calm"),
        ]
        for one in found
    ]
    headers = [t(f"keys.{key}", language) for key in ("name", *columns, "project_id", "state")]
    return cards.table(headers, rows, t("keys.projects", language))


def _limit(limit: int | None, language: str) -> Html:
    if limit is None:
        return Html(cards.muted(t("keys.no_limit", language)).text, -1)
    return Html(f'<span class="mbe-num">{limit:,}</span>', limit)


def project_detail(project: ProjectView, language: str) -> str:
    """Return the head of one project."""
    back = f'<a class="mbe-back" href="{address(language, "projects")}">← {_t("projects", language)}</a>'
    return f"{back}<h1>{escape(project.name)}</h1><p>{cards.code(project.id).text}</p>"


def saved(name: str, language: str) -> str:
    """Return that a project is kept."""
    return cards.note(t("keys.saved", language, name=name), "good")


def archived(name: str, language: str) -> str:
    """Return that a project is put away."""
    return cards.note(t("keys.archived_done", language, name=name), "good")
