"""A new version in traffic: from a small share of the calls to promotion, or back.

Market and serving meet here. Whoever changes something locks the name first, then the rollout.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.orm import Session

from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.flows import set_prices
from engine.flows.call_rounds import listings
from engine.kit.database import unit_of_work
from engine.kit.errors import Conflict, Forbidden, NotFound
from engine.market import service as market
from engine.market import states
from engine.market.schemas import ExpertView
from engine.serving import rollouts
from engine.serving.rollout_schemas import Arm, Counts, Margins, Rollout, Why


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A name's newest rollout, the name's versions by id, and the counts of both arms.

    `can_return` says that the version before can come back after a promotion.
    """

    rollout: Rollout
    versions: Mapping[str, ExpertView]
    counts: Mapping[Arm, Counts]

    @property
    def stable(self) -> ExpertView:
        """The version that was on the market when it began."""
        return self.versions[self.rollout.stable_id]

    @property
    def candidate(self) -> ExpertView:
        """The version that got a share of the calls."""
        return self.versions[self.rollout.candidate_id]

    @property
    def can_return(self) -> bool:
        """Whether a promotion can still be taken back."""
        now = (self.rollout.state, self.stable.state, self.candidate.state)
        return now == ("promoted", "retired", "published")


def versions(person: Person, name: str) -> list[ExpertView]:
    """Return the versions of a name of the person's tenant, the first one first. Raises NotFound."""
    require(person, "developer")
    with unit_of_work() as uow:
        return market.versions(uow, name, person.tenant_id)


def newest(person: Person, name: str) -> Watched:
    """Return the newest rollout of a name of the person's tenant. Raises NotFound without any."""
    require(person, "developer")
    with unit_of_work() as uow:
        known = market.versions(uow, name, person.tenant_id)
        found = rollouts.latest(uow, name, person.tenant_id)
        if found is None:
            raise NotFound("rollouts.none", name=name)
        counts = rollouts.counts(uow, found.id)
    return Watched(rollout=found, versions={one.id: one for one in known}, counts=counts)


def start(
    person: Person,
    name: str,
    *,
    candidate_id: str | None = None,
    strategy: str,
    weight_percent: int,
    margins: Margins,
) -> Rollout:
    """Give an approved version, without an id the newest, a share of the calls of the published one.

    Only who owns both versions may. Raises NotFound for another tenant's, Conflict without a published or
    an approved version and while another rollout runs, BadInput naming the field at fault.
    """
    require(person, "developer")
    with unit_of_work() as uow:
        market.lock(uow, name)
        known = market.versions(uow, name, person.tenant_id)
        stable = next((one for one in known if one.state == "published"), None)
        if stable is None:
            raise Conflict("rollouts.no_stable", name=name)
        candidate = _candidate(known, candidate_id, name)
        _require_owner(person, stable, candidate)
        made = rollouts.start(
            uow,
            name=name,
            tenant_id=person.tenant_id,
            stable_id=stable.id,
            candidate_id=candidate.id,
            strategy=strategy,
            weight_percent=weight_percent,
            margins=margins,
            by_id=person.id,
        )
        reason = f"{stable.version} + {candidate.version} ({weight_percent}%)"
        market.note(uow, candidate.id, by=person, reason=reason)
    listings.forget()
    return made


def _candidate(known: list[ExpertView], candidate_id: str | None, name: str) -> ExpertView:
    if candidate_id is None:
        approved = [one for one in known if one.state == "approved"]
        if not approved:
            raise Conflict("rollouts.no_candidate", name=name)
        return approved[-1]
    found = next((one for one in known if one.id == candidate_id), None)
    if found is None:
        raise NotFound("market.unknown_expert", field="candidate_id", id=candidate_id[:40])
    if found.state != "approved":
        raise Conflict("rollouts.not_approved", field="candidate_id", version=found.version)
    return found


def _require_owner(person: Person, *experts: ExpertView) -> None:
    if any(states.OWNER not in states.part_of(person, one.owner_id) for one in experts):
        raise Forbidden("market.owner_only")


def change(
    person: Person, name: str, *, weight_percent: int | None = None, margins: Margins | None = None
) -> Rollout:
    """Give the running rollout of a name another share or other margins."""
    with unit_of_work() as uow:
        found, _, _ = _mine(uow, person, name)
        changed = rollouts.change(uow, found.id, weight_percent=weight_percent, margins=margins)
    listings.forget()
    return changed


def promote(person: Person, name: str) -> Rollout:
    """Publish the candidate in place of the stable version, with the price of its listing, all at once."""
    with unit_of_work() as uow:
        found, stable, candidate = _mine(uow, person, name)
        why = Why(key="rollouts.why_promoted")
        ended = rollouts.move(uow, found.id, "promoted", part=rollouts.OWNER, why=why)
        reason = market.replacing(stable, candidate)
        published = market.change_state(uow, candidate.id, "published", by=person, reason=reason)
        set_prices.follow_listing(uow, published)
    listings.forget()
    return ended


def roll_back(person: Person, name: str) -> Rollout:
    """Take the candidate back: it gets no more calls, or, once promoted, the version before comes back.

    Raises Conflict when there is nothing to take back.
    """
    with unit_of_work() as uow:
        found, stable, candidate = _mine(uow, person, name)
        why = Why(key="rollouts.why_owner")
        ended = rollouts.move(uow, found.id, "rolled_back", part=rollouts.OWNER, why=why)
        reason = market.replacing(candidate, stable)
        if found.state == "promoted":
            restored = market.change_state(uow, stable.id, "published", by=person, reason=reason)
            set_prices.follow_listing(uow, restored)
        else:
            market.note(uow, candidate.id, by=person, reason=reason)
    listings.forget()
    return ended


def _mine(uow: Session, person: Person, name: str) -> tuple[Rollout, ExpertView, ExpertView]:
    """Return the newest rollout of a name that the person owns, locked, and its two versions."""
    require(person, "developer")
    market.lock(uow, name)
    known = {one.id: one for one in market.versions(uow, name, person.tenant_id)}
    found = rollouts.latest(uow, name, person.tenant_id)
    if found is None:
        raise NotFound("rollouts.none", name=name)
    stable, candidate = known[found.stable_id], known[found.candidate_id]
    _require_owner(person, stable, candidate)
    return found, stable, candidate


def follow(uow: Session, changed: ExpertView) -> None:
    """End the rollout of a name whose versions moved by themselves; publishing its candidate promotes it."""
    found = rollouts.running(uow, [changed.name]).get(changed.name)
    if found is None:
        return
    if changed.id == found.candidate_id and changed.state == "published":
        why = Why(key="rollouts.why_promoted")
        rollouts.move(uow, found.id, "promoted", part=rollouts.OWNER, why=why)
    elif changed.id in (found.stable_id, found.candidate_id) or changed.state == "published":
        rollouts.move(uow, found.id, "ended", part=rollouts.SYSTEM, why=Why(key="rollouts.why_market"))
