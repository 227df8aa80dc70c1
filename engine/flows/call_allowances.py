"""Which calls a package may pay for, as it was at most a second ago.

Where nobody has a package for a model, a call costs one look into a dict, and a second of them one statement.
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from engine.billing import allowances as billing
from engine.billing.schemas import Allowance
from engine.flows.call_ticket import Offer
from engine.kit.clock import now
from engine.kit.database import unit_of_work

KNOWN_SECONDS = 1.0


class Allowances:
    """The running allowances of those who call, each known for some `seconds`.

    What is set aside of them is decided at the hold.
    """

    def __init__(self, seconds: float = KNOWN_SECONDS) -> None:
        self._seconds = seconds
        self._sold: dict[str, tuple[float, bool]] = {}
        self._known: dict[tuple[str, str], tuple[float, Allowance | None]] = {}

    def forget(self) -> None:
        """Know nothing, after a change made by this process."""
        self._sold, self._known = {}, {}

    def give(self, offers: Sequence[Offer | Exception]) -> list[Offer | Exception]:
        """Return the offers, those with their allowance whose caller has one."""
        oldest = time.monotonic() - self._seconds
        wanted: defaultdict[str, set[str]] = defaultdict(set)
        for one in offers:
            if isinstance(one, Offer) and self._anybody(one.expert.name, oldest):
                tenant = one.caller.person.tenant_id
                known = self._known.get((one.expert.name, tenant))
                if known is None or known[0] < oldest:
                    wanted[one.expert.name].add(tenant)
        for model, tenants in wanted.items():
            self._read(model, tenants, oldest)
        return [self._given(one, oldest) if isinstance(one, Offer) else one for one in offers]

    def _anybody(self, model: str, oldest: float) -> bool:
        known = self._sold.get(model)
        if known is None or known[0] < oldest:
            at = time.monotonic()
            with unit_of_work() as uow:
                known = self._sold[model] = at, billing.anybody(uow, model, now())
        return known[1]

    def _read(self, model: str, tenants: set[str], oldest: float) -> None:
        at = time.monotonic()
        with unit_of_work() as uow:
            found = billing.running(uow, model, tenants, now())
        fresh = {pair: one for pair, one in self._known.items() if one[0] >= oldest}
        self._known = fresh | {(model, tenant): (at, found.get(tenant)) for tenant in tenants}

    def _given(self, offer: Offer, oldest: float) -> Offer:
        if not self._sold.get(offer.expert.name, (0.0, False))[1]:
            return offer
        known = self._known.get((offer.expert.name, offer.caller.person.tenant_id))
        return offer if known is None or known[1] is None else replace(offer, allowance=known[1])


allowances = Allowances()
