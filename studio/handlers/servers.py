"""The model servers on the operators' page, and the text that stands in when none answers."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.accounts.schemas import Person
from engine.flows import degraded_answers
from engine.flows import manage_upstreams as flow
from engine.flows.manage_upstreams import Standing
from engine.kit.errors import BadInput, NotFound
from engine.kit.messages import t
from engine.serving.upstreams import EVERY, LOCAL, UpstreamTerms
from studio.views import servers as views


@dataclass(frozen=True)
class Shown:
    """The table of the servers, and those to choose from: (words, id)."""

    table: str
    choices: list[tuple[str, str]]


def listing(person: Person, language: str) -> Shown:
    """Return the servers as they are declared. Raises Forbidden for others than operators."""
    return _shown(flow.listing(person), language)


def probed(person: Person, language: str) -> Shown:
    """Ask every server for one token, and return what they said. It takes some seconds at most."""
    return _shown(asyncio.run(flow.probe_all(person)), language)


def _shown(found: Sequence[Standing], language: str) -> Shown:
    # The built-in one is found by its name, declared or not.
    ids = [(one.upstream.name, LOCAL if one.upstream.name == LOCAL else one.upstream.id) for one in found]
    return Shown(table=views.table(found, language), choices=ids)


def values(person: Person, upstream_id: str | None) -> tuple[int, int, bool]:
    """Return weight, rank and whether a server is used. Raises NotFound, BadInput without one."""
    found = _chosen(person, upstream_id)
    return found.upstream.weight, found.upstream.fallback, found.upstream.enabled


def _chosen(person: Person, upstream_id: str | None) -> Standing:
    if not upstream_id:
        raise BadInput("servers.choose", field="server")
    for one in flow.listing(person):
        if upstream_id in (one.upstream.id, LOCAL) and upstream_id in (one.upstream.id, one.upstream.name):
            return one
    raise NotFound("serving.no_upstream", id=upstream_id[:40])


def _number(given: Any, field: str) -> int:
    if isinstance(given, bool) or not isinstance(given, int | float) or given != int(given):
        raise BadInput("servers.whole_number", field=field)
    return int(given)


def add(
    person: Person,
    language: str,
    *,
    name: str | None,
    base_url: str | None,
    model: str | None,
    served_as: str | None,
    key_variable: str | None,
    weight: Any,
    fallback: Any,
) -> str:
    """Declare a server and say so. Raises BadInput naming the field, Conflict, NotFound."""
    terms = UpstreamTerms(
        name=(name or "").strip(),
        base_url=(base_url or "").strip(),
        model=(model or "").strip() or EVERY,
        served_as=(served_as or "").strip(),
        key_variable=(key_variable or "").strip(),
        weight=_number(weight, "weight"),
        fallback=_number(fallback, "fallback"),
    )
    made = flow.declare(person, terms)
    return t("servers.added", language, name=made.name)


def change(
    person: Person, language: str, upstream_id: str | None, weight: Any, fallback: Any, enabled: bool
) -> str:
    """Change how much a server is used and say so. Raises BadInput naming the field, NotFound."""
    chosen = _chosen(person, upstream_id)
    changes = {"weight": _number(weight, "weight"), "fallback": _number(fallback, "fallback")}
    changed = flow.change(person, chosen.upstream.id, {**changes, "enabled": bool(enabled)})
    return t("servers.saved", language, name=changed.name)


def remove(person: Person, language: str, upstream_id: str | None, confirmed: bool) -> str:
    """Remove a server and say so. Raises BadInput unless chosen and confirmed."""
    chosen = _chosen(person, upstream_id)
    if not confirmed:
        raise BadInput("servers.confirm_first", field="confirmed")
    flow.remove(person, chosen.upstream.id)
    return t("servers.removed", language, name=chosen.upstream.name)


def instead(person: Person, name: str) -> str:
    """Return the text that stands in for an expert's answers, or nothing."""
    try:
        return degraded_answers.find(person, name).text
    except NotFound:
        return ""


def write_instead(person: Person, name: str, text: str | None, language: str) -> str:
    """Write that text, or take it back when it is empty, and say so. Raises BadInput, NotFound."""
    if not (text or "").strip():
        degraded_answers.remove(person, name)
        return t("servers.instead_gone", language)
    degraded_answers.declare(person, name, text or "")
    return t("servers.instead_saved", language)
