"""Operators declare model servers, and look at how they fare."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import anyio.to_thread
from sqlalchemy.orm import Session

from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.flows.upstream_health import Probed, servers
from engine.kit.database import unit_of_work
from engine.kit.errors import NotFound
from engine.market import service as market
from engine.serving import upstreams
from engine.serving.breaker import State
from engine.serving.schemas import Upstream
from engine.serving.upstreams import EVERY, UpstreamTerms


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A server and how it fares in this process: `state` is None when it was not asked here.

    `key_missing` says that the variable of its key is not set here.
    """

    upstream: Upstream
    state: State | None
    key_missing: bool
    probed_at: datetime | None = None
    probe_good: bool | None = None
    probe_ms: int | None = None


def listing(person: Person) -> list[Standing]:
    """Return all servers by rank and name. Raises Forbidden for others than operators."""
    require(person, "operator")
    with unit_of_work() as uow:
        found = upstreams.listing(uow)
    return [_standing(one, servers().last_probe(one.name)) for one in found]


def declare(person: Person, terms: UpstreamTerms) -> Upstream:
    """Add a server. Raises BadInput naming the field, Conflict, and NotFound for an unknown expert."""
    require(person, "operator")
    with unit_of_work() as uow:
        _require_model(uow, terms.model)
        made = upstreams.declare(uow, terms, by_id=person.id)
    servers().forget_declared()
    return made


def change(person: Person, upstream_id: str, changes: Mapping[str, Any]) -> Upstream:
    """Change terms of a server, named as in UpstreamTerms; "local" is the built-in one."""
    require(person, "operator")
    with unit_of_work() as uow:
        _require_model(uow, str(changes.get("model", EVERY)))
        changed = upstreams.change(uow, upstream_id, changes, by_id=person.id)
    servers().forget_declared()
    return changed


def remove(person: Person, upstream_id: str) -> None:
    """Remove a server; answers that it is giving go on."""
    require(person, "operator")
    with unit_of_work() as uow:
        upstreams.remove(uow, upstream_id)
    servers().forget_declared()


async def probe(person: Person, upstream_id: str, *, seconds: float = 20.0) -> Standing:
    """Ask a server for one token, now, and return how it fares then."""
    require(person, "operator")
    upstream = await anyio.to_thread.run_sync(_find, upstream_id)
    return _standing(upstream, await servers().probe(upstream, seconds=seconds))


async def probe_all(person: Person, *, seconds: float = 5.0) -> Sequence[Standing]:
    """Ask all servers that are not turned off for one token each, at once."""
    found = await anyio.to_thread.run_sync(listing, person)
    probed: dict[str, Probed] = {}

    async def ask(upstream: Upstream) -> None:
        probed[upstream.id] = await servers().probe(upstream, seconds=seconds)

    async with anyio.create_task_group() as group:
        for one in found:
            if one.upstream.enabled:
                group.start_soon(ask, one.upstream)
    return [_standing(one.upstream, probed.get(one.upstream.id)) for one in found]


def _find(upstream_id: str) -> Upstream:
    with unit_of_work() as uow:
        return upstreams.find(uow, upstream_id)


def _require_model(uow: Session, model: str) -> None:
    if model != EVERY and not market.is_taken(uow, model):
        raise NotFound("market.unknown_name", field="model", name=model[:80])


def _standing(upstream: Upstream, probed: Probed | None) -> Standing:
    return Standing(
        upstream=upstream,
        state=servers().state(upstream.name),
        key_missing=bool(upstream.key_variable) and not os.environ.get(upstream.key_variable),
        probed_at=datetime.fromtimestamp(probed.at, UTC) if probed else None,
        probe_good=probed.good if probed else None,
        probe_ms=probed.milliseconds if probed else None,
    )
