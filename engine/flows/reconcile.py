"""Do usage events, receipts, meters and ledger say the same? What is new every minute, all on demand.

What did not agree is looked at again each time until it does, so that it cannot go by unseen.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.analytics import service as analytics
from engine.analytics.schemas import Recorded
from engine.billing import reconciliation as books
from engine.billing.reconciliation import MOST_KEPT, Difference, Paid, Reconciliation
from engine.flows import meter_training
from engine.flows.meter_training import METERED
from engine.jobs import metered
from engine.kit import metrics
from engine.kit.clock import now
from engine.kit.database import snapshot, unit_of_work
from engine.kit.logs import logger

LAG = timedelta(seconds=5)
"""Calls that settle right now are left to the next comparison."""
OVERLAP = timedelta(minutes=2)
"""How far a comparison looks back behind the last: what was written late is seen by the next."""
STEP = timedelta(hours=1)
PAUSE = timedelta(seconds=50)
"""A comparison that is younger makes another one needless, wherever it was made."""

SHOWN_SECONDS = 15.0

log = logger(__name__)
_shown = float("-inf")


def chore() -> Reconciliation | None:
    """Compare what is new; nothing when another worker just did. The first time, compare everything."""
    with unit_of_work() as uow:
        last = books.latest(uow)
    if last is not None and now() - last.at < PAUSE:
        return None
    if last is None or last.found > MOST_KEPT:
        return compare()
    return compare(last)


def check(person: Person) -> Reconciliation:
    """Compare everything, for operators."""
    require(person, "operator")
    return compare()


def latest(person: Person) -> Reconciliation | None:
    """Return the newest comparison, None before the first, for operators."""
    require(person, "operator")
    with unit_of_work() as uow:
        return books.latest(uow)


def show() -> None:
    """Put the newest comparison into the metrics, as it was at most 15 seconds ago.

    Nothing is raised: the other counts are wanted most when the database does not answer.
    """
    global _shown
    if time.monotonic() - _shown < SHOWN_SECONDS:
        return
    _shown = time.monotonic()
    metrics.books_unknown()
    try:
        with unit_of_work() as uow:
            last = books.latest(uow)
    except Exception as error:
        log.warning("nobody knows whether the books agree", why=str(error))
        return
    if last is not None:
        metrics.books_micro.set(last.micro)
        metrics.books_tokens.set(last.tokens)
        metrics.books_at.set(last.at.timestamp())


def compare(last: Reconciliation | None = None) -> Reconciliation:
    """Compare what is new since `last` and what differed then; everything without it."""
    until = now() - LAG
    since = last.until - OVERLAP if last else _begin(until)
    checked = 0
    differences: list[Difference] = []
    for start, end in _steps(since, until):
        _link(start, end)
        again = last.differences if last and start == since else ()
        for compared in (_calls, _meters):
            count, found = compared(start, end, again)
            checked, differences = checked + count, differences + found
    with snapshot() as uow:
        before = last.differences if last else ()
        tenants = {each.id for each in before if each.kind in ("wallet", "held")}
        count, found = books.check_wallets(uow, since if last else None, until, tenants)
        checked, differences = checked + count, differences + found
        unbalanced = any(each.kind == "ledger" for each in before)
        differences += books.check_ledger(uow, since if last and not unbalanced else None, until)
    with unit_of_work() as uow:
        result = books.save(uow, whole=last is None, until=until, checked=checked, differences=differences)
    if not result.agrees:
        log.error("the books differ", found=result.found, micro=result.micro, tokens=result.tokens)
    return result


def _begin(until: datetime) -> datetime:
    with unit_of_work() as uow:
        began = (books.first_receipt(uow), books.first_meter(uow), analytics.first(uow))
    return min([*(at for at in began if at is not None), until - STEP])


def _steps(since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    while since < until:
        yield since, min(since + STEP, until)
        since += STEP


Call = tuple[str, str, str, int, int, int]


def _link(since: datetime, until: datetime) -> None:
    """Find the receipts of events that came without: same tenant, person, model, tokens, charge, in order.

    An event is a moment younger than its receipt, so those just after the end are looked at as well.
    """
    with unit_of_work() as uow:
        recorded = analytics.between(uow, since, until + OVERLAP)
        alone = [one for one in recorded if one.call_id is None]
        if not alone:
            return
        paid = books.paid(uow, since - OVERLAP, until + OVERLAP)
        taken = {one.call_id for one in analytics.of_calls(uow, [each.hold_id for each in paid])}
        free: defaultdict[Call, list[str]] = defaultdict(list)
        for each in reversed(paid):
            if each.hold_id not in taken:
                tokens = each.input_tokens, each.output_tokens
                free[each.tenant_id, each.person_id, each.model, *tokens, each.charged_micro].append(
                    each.hold_id
                )
        links = {}
        for one in alone:
            tokens = one.input_tokens, one.output_tokens
            if found := free[one.tenant_id, one.person_id, one.expert_name, *tokens, one.charged_micro]:
                links[one.id] = found.pop()
        analytics.link(uow, links)


def _calls(since: datetime, until: datetime, again: Sequence[Difference]) -> tuple[int, list[Difference]]:
    """Compare the receipts, refunds and events of a time, and those that differed before."""
    named: defaultdict[str, set[str]] = defaultdict(set)
    for each in again:
        named[each.kind].add(each.id)
    with snapshot() as uow:
        receipts = books.paid(
            uow, since, until, named["usage"] | named["no_event"] | named["twice"] | named["receipt"]
        )
        events: defaultdict[str | None, list[Recorded]] = defaultdict(list)
        for one in analytics.of_calls(uow, [each.hold_id for each in receipts]):
            events[one.call_id].append(one)
        recorded = analytics.between(uow, since, until, named["no_receipt"])
        here = {each.hold_id for each in receipts}
        elsewhere = {one.call_id for one in recorded if one.call_id} - here
        known = books.ended(uow, elsewhere) | here
        count, differences = books.check_refunds(uow, since, until, named["refund"])
    differences += books.check_receipts(receipts)
    for receipt in receipts:
        differences += _compared(receipt, events[receipt.hold_id])
    differences += [
        Difference(
            kind="no_receipt",
            id=one.id,
            tenant_id=one.tenant_id,
            micro=one.charged_micro,
            tokens=one.input_tokens + one.output_tokens,
            expected="–",
            actual=_words(one.input_tokens, one.output_tokens, one.charged_micro),
        )
        for one in recorded
        if one.call_id not in known and (one.charged_micro or one.input_tokens or one.output_tokens)
    ]
    return count + len(receipts) + len(recorded), differences


def _meters(since: datetime, until: datetime, again: Sequence[Difference]) -> tuple[int, list[Difference]]:
    """Compare the meters that changed in a time, and those that differed before, with what was measured.

    An attempt that began since there are meters has one.
    """
    named = {each.id for each in again if each.kind in ("meter", "charge", "no_meter")}
    with snapshot() as uow:
        found = books.metered(uow, since, until, named)
        first = books.first_meter(uow)
        begun = metered.begun(uow, METERED, max(since, first), until) if first else []
        keys = {one.key for one in found} | {f"{job_id}:{token}" for job_id, token in begun} | named
        attempts = {meter_training.attempt_of(key): key for key in keys}
        measured = {
            attempts[attempt]: (one.cpu_ms, one.gpu_ms)
            for attempt, one in metered.measured(uow, list(attempts)).items()
        }
        known = {one.key for one in books.metered(uow, until, until, keys)}
    differences = books.check_meters(found, measured)
    for key in sorted(keys - known):
        if due := meter_training.rates().cost(*measured.get(key, (0, 0))):
            differences.append(Difference(kind="no_meter", id=key, micro=due, expected="–", actual=f"{due}"))
    return len(found), differences


def _compared(receipt: Paid, events: Sequence[Recorded]) -> list[Difference]:
    paid = _words(receipt.input_tokens, receipt.output_tokens, receipt.charged_micro)
    if not events and receipt.state != "settled":
        return []
    if len(events) == 1:
        [one] = events
        tokens = abs(receipt.input_tokens - one.input_tokens) + abs(receipt.output_tokens - one.output_tokens)
        micro = abs(receipt.charged_micro - one.charged_micro)
        if not tokens and not micro:
            return []
    else:
        # None at all, or more than one: what is missing or too much.
        tokens = abs(
            receipt.input_tokens
            + receipt.output_tokens
            - sum(e.input_tokens + e.output_tokens for e in events)
        )
        micro = abs(receipt.charged_micro - sum(one.charged_micro for one in events))
    return [
        Difference(
            kind="usage" if len(events) == 1 else "twice" if events else "no_event",
            id=receipt.id,
            tenant_id=receipt.tenant_id,
            micro=micro,
            tokens=tokens,
            expected=paid,
            actual="; ".join(_words(e.input_tokens, e.output_tokens, e.charged_micro) for e in events) or "–",
        )
    ]


def _words(input_tokens: int, output_tokens: int, micro: int) -> str:
    return f"{input_tokens} + {output_tokens} / {micro}"
