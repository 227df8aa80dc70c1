"""Canaries that do worse than their margins allow are taken back, without waiting for a person."""

from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.kit.logs import logger
from engine.market import service as market
from engine.market.schemas import SYSTEM
from engine.serving import rollouts
from engine.serving.rollout_schemas import Rollout

log = logger(__name__)


def chore() -> int:
    """Look at every running canary and take back those that fail; return how many.

    Any number of workers may do this at once: one of them decides. What cannot be decided about one does
    not keep the others from being looked at.
    """
    with unit_of_work() as uow:
        running = rollouts.all_running(uow, "canary")
    taken = 0
    for one in running:
        try:
            taken += _decided(one)
        except Exception:
            log.exception("a canary could not be judged", rollout=one.id)
    return taken


def _decided(seen: Rollout) -> bool:
    with unit_of_work() as uow:
        counts = rollouts.counts(uow, seen.id)
    if rollouts.verdict(counts["stable"], counts["candidate"], seen.margins) is None:
        return False
    with unit_of_work() as uow:
        market.lock(uow, seen.name)
        one = rollouts.running(uow, [seen.name]).get(seen.name)
        if one is None or one.id != seen.id:
            return False  # somebody else was faster
        # Once more behind the lock: the owner may have just given it wider margins.
        why = rollouts.verdict(counts["stable"], counts["candidate"], one.margins)
        if why is None:
            return False
        rollouts.move(uow, one.id, "rolled_back", part=rollouts.SYSTEM, why=why)
        versions = market.by_ids(uow, [one.stable_id, one.candidate_id])
        reason = market.replacing(versions[one.candidate_id], versions[one.stable_id])
        market.note(uow, one.candidate_id, by=SYSTEM, reason=reason)
    log.warning("a canary was taken back", rollout=one.id, name=one.name, reason=why.message("en"))
    return True


def forget() -> int:
    """Forget what came of the calls of rollouts that ended 30 days ago; return how many."""
    with unit_of_work() as uow:
        return rollouts.sweep(uow, now())
