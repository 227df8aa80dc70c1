"""Model servers that operators declare, and in which order a call tries them.

The server that the settings name is always there as "local", for every model, with rank 0 and weight 1; a row
of that name changes its weight, its rank, or turns it off. Keys of servers are never stored, only the name of
the environment variable that holds one.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from engine.kit.clock import now
from engine.kit.errors import BadInput, Conflict, NotFound
from engine.kit.ids import new_id
from engine.serving import repository
from engine.serving.models import UpstreamRow
from engine.serving.schemas import Upstream

LOCAL = "local"
EVERY = "*"
HEAVIEST, LAST_RANK = 1000, 99
MOST = 100
"""How many servers may be declared."""

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_MODEL = re.compile(r"[a-z0-9-]{3,60}")
# As with the hub: unencrypted only on this machine.
_URL = re.compile(
    r"(https://[A-Za-z0-9.-]{1,200}|http://(127\.0\.0\.1|localhost|\[::1\]))(:\d{1,5})?(/[\w./-]{0,200})?"
)
_VARIABLE = re.compile(r"(MBE_UPSTREAM_KEY_[A-Z0-9_]{1,60})?")


@dataclass(frozen=True, kw_only=True)
class UpstreamTerms:
    """What is declared of a server.

    `base_url` is without `/v1`. `model` is the public name of the expert that it answers for, or "*". It is
    asked for `served_as`; without one it is a server like ours, which loads adapters. `weight` is its share
    of the calls among the working ones of its rank, none for 0; a rank is tried when all lower ones are
    broken.
    """

    name: str
    base_url: str = ""
    key_variable: str = ""
    model: str = EVERY
    served_as: str = ""
    weight: int = 1
    fallback: int = 0
    enabled: bool = True


BUILT_IN = Upstream(
    id=LOCAL,
    name=LOCAL,
    base_url="",
    key_variable="",
    model=EVERY,
    served_as="",
    weight=1,
    fallback=0,
    enabled=True,
)


def listing(uow: Session) -> list[Upstream]:
    """Return all servers by rank and name, the built-in one among them, also those that are turned off."""
    found = [Upstream.model_validate(row) for row in repository.upstreams(uow)]
    if not any(one.name == LOCAL for one in found):
        found.append(BUILT_IN)
    return sorted(found, key=lambda one: (one.fallback, one.name))


def find(uow: Session, upstream_id: str) -> Upstream:
    """Return a server by its id; "local" is the built-in one, declared or not. Raises NotFound."""
    for one in listing(uow):
        if upstream_id == one.id or upstream_id == one.name == LOCAL:
            return one
    raise NotFound("serving.no_upstream", id=upstream_id[:40])


def declare(uow: Session, terms: UpstreamTerms, *, by_id: str) -> Upstream:
    """Add a server. Raises BadInput naming the field at fault, Conflict for a name that is taken."""
    values = _checked(terms)
    if repository.count_upstreams(uow) >= MOST:
        raise Conflict("serving.too_many_upstreams", most=MOST)
    row = UpstreamRow(id=new_id("ups"), **values, created_at=now(), by_id=by_id)
    if not repository.add_upstream(uow, row):
        raise Conflict("serving.upstream_taken", field="name", name=terms.name)
    return Upstream.model_validate(row)


def change(uow: Session, upstream_id: str, changes: Mapping[str, Any], *, by_id: str) -> Upstream:
    """Change terms of a server, named as in UpstreamTerms; its name stays.

    "local" is declared by its first change. Raises NotFound, and BadInput naming the field at fault.
    """
    before = find(uow, upstream_id)
    if changes.get("name", before.name) != before.name:
        raise BadInput("serving.upstream_name_stays", field="name")
    known = {name: getattr(before, name) for name in UpstreamTerms.__dataclass_fields__}
    terms = UpstreamTerms(**{**known, **changes})
    if before.id == LOCAL:
        return declare(uow, terms, by_id=by_id)
    repository.change_upstream(uow, before.id, {**_checked(terms), "by_id": by_id})
    return find(uow, before.id)


def remove(uow: Session, upstream_id: str) -> None:
    """Remove a server; "local" is then as it was before it was declared. Raises NotFound."""
    found = find(uow, upstream_id)
    if found.id == LOCAL:
        raise NotFound("serving.no_upstream", id=upstream_id[:40])
    repository.remove_upstream(uow, found.id)


def _checked(terms: UpstreamTerms) -> dict[str, Any]:
    url = terms.base_url.strip().rstrip("/").removesuffix("/v1").rstrip("/")
    if not _NAME.fullmatch(terms.name):
        raise BadInput("serving.bad_upstream_name", field="name")
    if not 0 <= terms.weight <= HEAVIEST:
        raise BadInput("serving.bad_weight", field="weight", most=HEAVIEST)
    if not 0 <= terms.fallback <= LAST_RANK:
        raise BadInput("serving.bad_rank", field="fallback", most=LAST_RANK)
    if not _VARIABLE.fullmatch(terms.key_variable):
        raise BadInput("serving.bad_key_variable", field="key_variable")
    if len(terms.served_as) > 200 or not terms.served_as.isprintable():
        raise BadInput("serving.bad_served_as", field="served_as")
    _check_place(terms, url)
    return {
        "name": terms.name,
        "base_url": url,
        "key_variable": terms.key_variable,
        "model": terms.model,
        "served_as": terms.served_as.strip(),
        "weight": terms.weight,
        "fallback": terms.fallback,
        "enabled": terms.enabled,
    }


def _check_place(terms: UpstreamTerms, url: str) -> None:
    if terms.name == LOCAL:
        for field, plain in (("base_url", ""), ("key_variable", ""), ("model", EVERY), ("served_as", "")):
            if getattr(terms, field) != plain:
                raise BadInput("serving.local_is_set", field=field)
    elif not _URL.fullmatch(url):
        raise BadInput("serving.bad_base_url", field="base_url")
    elif terms.model != EVERY and not _MODEL.fullmatch(terms.model):
        raise BadInput("serving.bad_upstream_model", field="model")


def serves(upstream: Upstream, model: str, *, public: bool) -> bool:
    """Return whether a server may answer for an expert.

    One that is asked by a name of its own knows what is published, not a version that is still being tested.
    """
    return (
        upstream.enabled
        and upstream.weight > 0
        and upstream.model in (model, EVERY)
        and (public or not upstream.served_as)
    )


def order(
    upstreams: Sequence[Upstream], works: Callable[[str], bool], pick: Callable[[], float]
) -> list[Upstream]:
    """Return the working servers in the order in which a call tries them.

    Ranks come one after the other; within one, chance decides by weight, as if each next one were drawn out
    of those that are left. `works` tells of a server by its name whether calls go there, `pick` gives numbers
    from 0 to below 1.
    """
    left = [one for one in upstreams if one.weight > 0 and works(one.name)]
    if len(left) < 2:
        return left
    ordered: list[Upstream] = []
    for rank in sorted({one.fallback for one in left}):
        urn = [one for one in left if one.fallback == rank]
        while urn:
            ordered.append(urn.pop(_drawn([one.weight for one in urn], pick())))
    return ordered


def _drawn(weights: Sequence[int], point: float) -> int:
    mark = point * sum(weights)
    for number, weight in enumerate(weights):
        mark -= weight
        if mark < 0:
            return number
    return len(weights) - 1
