"""Calls with an idempotency key, ended in every way and retried in any order: charged once at most."""

import os
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from engine.accounts.schemas import Caller, Person
from engine.billing import prices
from engine.billing import service as billing
from engine.flows import answer_once
from engine.flows.charge_call import Offer
from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.kit.errors import Conflict
from engine.kit.money import CREDIT
from engine.market.schemas import ExpertView
from engine.serving.schemas import Reply, StillRunning


@pytest.fixture
def offer(consumer: Person, published: ExpertView) -> Offer:
    with unit_of_work() as uow:
        billing.top_up(uow, tenant_id=consumer.tenant_id, amount_micro=CREDIT * 100, key="f", by=consumer.id)
        price = prices.first(
            uow, subject=published.name, input_micro=1, output_micro=1, by_id=published.owner_id
        )
    return Offer(caller=Caller(person=consumer, plan="pro"), expert=published, price=price)


def hold(offer: Offer) -> str:
    tenant, until = offer.caller.person.tenant_id, now() + timedelta(minutes=10)
    with unit_of_work() as uow:
        return billing.hold(
            uow,
            tenant_id=tenant,
            amount_micro=100,
            key=offer.call_key,
            subject={},
            expires_at=until,
        ).id


def settle(offer: Offer, hold_id: str, amount: int = 50) -> None:
    developer = offer.expert.tenant_id
    with unit_of_work() as uow:
        billing.settle(uow, hold_id=hold_id, amount_micro=amount, developer_tenant_id=developer, usage={})


def release(hold_id: str) -> None:
    with unit_of_work() as uow:
        billing.release(uow, hold_id, "failed")


def time_is_up(sweep: bool = True) -> None:
    """Let the time of every running call pass."""
    with unit_of_work() as uow:
        if sweep:
            billing.sweep(uow, now() + timedelta(hours=1))
        uow.execute(text("UPDATE serving_replies SET expires_at = now() WHERE state = 'running'"))


def receipts(offer: Offer) -> int:
    with unit_of_work() as uow:
        return sum(one.charged_micro > 0 for one in billing.receipts(uow, offer.caller.person.tenant_id, 500))


def begin(offer: Offer, key: str = "k") -> Offer | Reply:
    return answer_once.begin(offer, key=key, digest="d")


def begun(offer: Offer, key: str = "k") -> Offer:
    found = begin(offer, key)
    assert isinstance(found, Offer)
    return found


def test_a_process_that_died_frees_the_key_when_its_hold_is_released(offer: Offer) -> None:
    hold(begun(offer))
    with pytest.raises(StillRunning):
        begin(offer)
    time_is_up(sweep=False)
    with pytest.raises(StillRunning):
        begin(offer)
    time_is_up()
    settle(again := begun(offer), hold(again))
    assert receipts(offer) == 1


def test_a_process_that_died_before_it_held_anything_frees_the_key_in_time(offer: Offer) -> None:
    first = begun(offer)
    time_is_up()
    assert begun(offer).call_key != first.call_key


def test_a_process_that_died_after_it_charged_never_charges_again(offer: Offer) -> None:
    settle(first := begun(offer), hold(first))
    time_is_up()
    for _ in range(2):
        with pytest.raises(Conflict) as refused:
            begin(offer)
        assert refused.value.key == "serving.reply_lost"
    assert receipts(offer) == 1


ENDS = (
    "answered",
    "failed",
    "refused",
    "left",
    "free",
    "died",
    "died holding",
    "died charged",
    "time",
    "ask",
)


@given(ends=st.lists(st.sampled_from(ENDS), min_size=1, max_size=8))
@settings(
    max_examples=int(os.environ.get("MBE_TEST_EXAMPLES", "40")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_order_of_retries_charges_once(offer: Offer, ends: list[str]) -> None:
    key, before, answer = os.urandom(8).hex(), receipts(offer), None
    for number, end in enumerate(ends):
        if end == "time":
            time_is_up()
        try:
            found = begin(offer, key)
        except Conflict as lost:
            assert lost.key == "serving.reply_lost" and receipts(offer) == before + 1
            continue
        except StillRunning:
            continue
        if isinstance(found, Reply):
            assert found == answer
            continue
        assert answer is None and receipts(offer) == before
        reply = Reply(status=200, media_type="x", body=bytes([number]))
        answer = _end(found, end, reply) or answer
    assert receipts(offer) <= before + 1


def _end(call: Offer, end: str, reply: Reply) -> Reply | None:
    """End a call in some way; return the answer that its key stands for from now on."""
    if end in ("died", "refused", "time", "ask"):
        if end != "died":
            answer_once.leave(call, lambda _: None)
        return None
    hold_id = hold(call)
    if end in ("answered", "left", "free", "died charged"):
        settle(call, hold_id, 0 if end == "free" else 50)
    if end == "failed":
        release(hold_id)
    if end == "answered":
        answer_once.keep(call, reply)
    elif not end.startswith("died"):
        answer_once.leave(call, lambda _: reply)
    return reply if end in ("answered", "left") else None
