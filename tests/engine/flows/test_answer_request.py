"""A paid answer, ended in every way there is: each settles or releases its hold, once."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing

import psycopg
import pytest
from sqlalchemy.orm import Session

from engine.accounts.schemas import Person
from engine.analytics.models import UsageEventRow
from engine.billing import holds
from engine.billing import service as billing
from engine.billing.schemas import HoldRequest, HoldView, Receipt
from engine.flows import call_rounds, speak
from engine.flows.answer_request import AnswerPart, ChatRequest, answer
from engine.flows.call_ticket import Ticket
from engine.inference import pool, tokens
from engine.inference.schemas import Delta, Usage
from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, InsufficientCredit, NotFound, UpstreamFailed
from engine.kit.money import CREDIT
from engine.kit.prompts import Message
from engine.kit.settings import settings
from engine.market.schemas import ExpertView

REQUEST = ChatRequest(
    model="help-desk", messages=(Message(role="user", content="How long do returns take?"),)
)


@pytest.fixture(autouse=True)
def fake_model(db: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MBE_INFERENCE", "fake")
    settings.cache_clear()
    pool.pool.cache_clear()
    tokens._tokenizer.cache_clear()
    yield
    pool.pool.cache_clear()
    tokens._tokenizer.cache_clear()


@pytest.fixture
def rich(consumer: Person) -> Person:
    with unit_of_work() as uow:
        billing.top_up(uow, tenant_id=consumer.tenant_id, amount_micro=10 * CREDIT, key="k", by=consumer.id)
    return consumer


def says(monkeypatch: pytest.MonkeyPatch, *deltas: Delta | Exception) -> None:
    """Let the model say these, and raise what is an error."""

    async def words(*_: object, **__: object) -> AsyncGenerator[Delta, None]:
        for delta in deltas:
            if isinstance(delta, Exception):
                raise delta
            yield delta

    monkeypatch.setattr(speak, "words", words)


def money(person: Person) -> tuple[int, int, int]:
    """Return balance, held, and the ledger's sum."""
    with unit_of_work() as uow:
        return (
            billing.balance(uow, person.tenant_id),
            billing.held(uow, person.tenant_id),
            billing.ledger_sum(uow),
        )


def outcomes() -> list[str]:
    with unit_of_work() as uow:
        return [row.outcome for row in uow.query(UsageEventRow).all()]


async def collected(person: Person) -> list[AnswerPart]:
    return [part async for part in answer(person, REQUEST)]


def test_usage_of_the_server_is_what_is_paid(
    rich: Person, published: ExpertView, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = Usage(prompt_tokens=7, completion_tokens=2)
    says(monkeypatch, Delta(text="45 "), Delta(text="days."), Delta(finish_reason="stop", usage=usage))
    parts = asyncio.run(collected(rich))
    assert [part.kind for part in parts] == ["passages", "text", "text", "done"]
    receipt = parts[-1].receipt
    assert receipt is not None and receipt.charged_micro == (7 * 2 + 2 * 4) * 1000
    assert money(rich) == (10 * CREDIT - receipt.charged_micro, 0, 0)
    assert outcomes() == ["stop"]


def test_a_model_that_breaks_off_is_paid_for_what_it_said(
    rich: Person, published: ExpertView, monkeypatch: pytest.MonkeyPatch
) -> None:
    says(monkeypatch, Delta(text="45 "), UpstreamFailed("arena.side_failed"))
    with pytest.raises(UpstreamFailed):
        asyncio.run(collected(rich))
    balance, held, total = money(rich)
    assert 0 < 10 * CREDIT - balance < CREDIT and (held, total) == (0, 0)
    assert outcomes() == ["failed"]


def test_a_model_that_says_nothing_costs_nothing(
    rich: Person, published: ExpertView, monkeypatch: pytest.MonkeyPatch
) -> None:
    says(monkeypatch, UpstreamFailed("arena.side_failed"))
    with pytest.raises(UpstreamFailed):
        asyncio.run(collected(rich))
    assert money(rich) == (10 * CREDIT, 0, 0)


def test_leaving_in_the_middle_pays_once_for_the_words_that_came(
    rich: Person, published: ExpertView, monkeypatch: pytest.MonkeyPatch
) -> None:
    says(monkeypatch, *[Delta(text="word ")] * 100)

    async def leave() -> None:
        async with aclosing(answer(rich, REQUEST)) as parts:
            async for part in parts:
                if part.kind == "text":
                    return

    asyncio.run(leave())
    with unit_of_work() as uow:
        (receipt,) = billing.receipts(uow, rich.tenant_id)
    assert receipt.usage["output_tokens"] == tokens.of_text("word ")
    assert money(rich)[1:] == (0, 0)
    assert outcomes() == ["cancelled"]


def test_leaving_while_being_admitted_leaves_no_hold(
    rich: Person, published: ExpertView, monkeypatch: pytest.MonkeyPatch
) -> None:
    says(monkeypatch, Delta(text="never"))
    hold, begun, placed = holds.hold_ordinary, threading.Event(), threading.Event()

    def slow(uow: Session, requests: Sequence[HoldRequest]) -> list[HoldView | None]:
        begun.set()
        time.sleep(0.1)
        placed.set()
        return hold(uow, requests)

    monkeypatch.setattr(holds, "hold_ordinary", slow)

    async def leave_at_once() -> None:
        asking = asyncio.create_task(collected(rich))
        while not begun.is_set():
            await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        while not placed.is_set() or outcomes() != ["cancelled"]:
            await asyncio.sleep(0.02)

    asyncio.run(asyncio.wait_for(leave_at_once(), 30))
    assert money(rich) == (10 * CREDIT, 0, 0)


def test_nothing_is_held_for_what_is_refused(rich: Person, consumer: Person, published: ExpertView) -> None:
    unknown = ChatRequest(model="nobody", messages=REQUEST.messages)

    async def ask() -> None:
        async for _ in answer(rich, unknown):
            pass

    with pytest.raises(NotFound):
        asyncio.run(ask())
    assert money(rich) == (10 * CREDIT, 0, 0)


def test_an_empty_wallet_is_refused_before_the_model_speaks(
    consumer: Person, published: ExpertView, monkeypatch: pytest.MonkeyPatch
) -> None:
    says(monkeypatch, AssertionError("the model was asked"))
    with pytest.raises(InsufficientCredit):
        asyncio.run(collected(consumer))


def test_running_counts_of_several_choices_are_added_up(
    rich: Person, published: ExpertView, monkeypatch: pytest.MonkeyPatch
) -> None:
    def piece(index: int, made: int) -> Delta:
        usage = Usage(prompt_tokens=7, completion_tokens=made)
        return Delta(text="w ", usage=usage, choices=({"index": index, "delta": {"content": "w "}},))

    says(monkeypatch, piece(0, 1), piece(1, 1), piece(0, 2), piece(1, 2), UpstreamFailed("arena.side_failed"))
    with pytest.raises(UpstreamFailed):
        asyncio.run(collected(rich))
    with unit_of_work() as uow:
        (receipt,) = billing.receipts(uow, rich.tenant_id)
    assert (receipt.usage["input_tokens"], receipt.usage["output_tokens"]) == (7, 4)


def test_a_round_that_is_done_again_records_no_call_twice(
    rich: Person, published: ExpertView, monkeypatch: pytest.MonkeyPatch
) -> None:
    says(monkeypatch, Delta(text="45 days.", finish_reason="stop"))
    ordinary = call_rounds._settle_ordinary

    def broken(tickets: Sequence[Ticket]) -> dict[str, Receipt]:
        ordinary(tickets)
        raise psycopg.OperationalError("the connection broke behind the commit")

    monkeypatch.setattr(call_rounds, "_settle_ordinary", broken)
    with unit_of_work() as uow:  # so that all accounts are there and the ordinary way is taken
        billing.settle(
            uow,
            hold_id=billing.hold(
                uow, tenant_id=rich.tenant_id, amount_micro=9, key="x", subject={}, expires_at=now()
            ).id,
            amount_micro=9,
            developer_tenant_id=published.tenant_id,
            usage={},
        )
    parts = asyncio.run(collected(rich))
    assert parts[-1].receipt is not None and parts[-1].receipt.state == "settled"
    assert outcomes() == ["stop"]


def test_a_text_beyond_everything_is_refused_before_its_tokens_are_counted(
    rich: Person, published: ExpertView, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> int:
        raise AssertionError("tokens were counted")

    monkeypatch.setattr(tokens, "of_messages", never)
    endless = ChatRequest(model="help-desk", messages=(Message(role="user", content="x" * 10**6),))

    async def ask() -> None:
        async for _ in answer(rich, endless):
            pass

    with pytest.raises(BadInput) as caught:
        asyncio.run(ask())
    assert caught.value.key == "chat.too_long" and money(rich) == (10 * CREDIT, 0, 0)
