"""Calls of a candidate from the pages, and callers who leave it: nobody is blamed for them."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

import pytest
from sqlalchemy import select

from engine.accounts.schemas import Person
from engine.billing import service as billing
from engine.flows import roll_out, speak
from engine.flows.answer_request import AnswerPart, ChatRequest, answer
from engine.flows.call_rounds import listings
from engine.flows.route_call import Routing
from engine.inference.schemas import Delta
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput
from engine.kit.money import CREDIT
from engine.kit.prompts import Message
from engine.market.schemas import ExpertView
from engine.serving.models import OutcomeRow
from engine.serving.rollout_schemas import Margins
from tests.apps.gateway.rollouts import approved

__all__ = ["approved"]

REQUEST = ChatRequest(
    model="help-desk", messages=(Message(role="user", content="How long do returns take?"),)
)
CANARY = Routing(strategy="canary")


@pytest.fixture
def rich(model: None, consumer: Person, developer: Person, approved: ExpertView) -> Iterator[Person]:
    """Somebody with credits, while all calls go to a candidate."""
    with unit_of_work() as uow:
        billing.top_up(uow, tenant_id=consumer.tenant_id, amount_micro=10 * CREDIT, key="k", by=consumer.id)
    roll_out.start(developer, "help-desk", strategy="canary", weight_percent=100, margins=Margins())
    listings.forget()
    yield consumer


def outcomes() -> list[tuple[str, bool]]:
    with unit_of_work() as uow:
        return [(row.arm, row.failed) for row in uow.scalars(select(OutcomeRow))]


def money(person: Person) -> tuple[int, int, int]:
    """Return what was spent, what is held, and the ledger's sum."""
    with unit_of_work() as uow:
        spent = 10 * CREDIT - billing.balance(uow, person.tenant_id)
        return spent, billing.held(uow, person.tenant_id), billing.ledger_sum(uow)


async def collected(person: Person) -> list[AnswerPart]:
    return [part async for part in answer(person, REQUEST)]


def test_a_page_asks_the_version_of_its_conversation(rich: Person, approved: ExpertView) -> None:
    parts = asyncio.run(collected(rich))
    receipt = parts[-1].receipt
    assert receipt is not None and receipt.usage["version"] == approved.version == "1.1.0"
    assert parts[0].headers["X-Routing-Arm"] == "candidate"
    assert outcomes() == [("candidate", False)]


def test_who_leaves_in_the_middle_pays_for_the_words_and_blames_nobody(
    rich: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def words(*_: object, **__: object) -> AsyncGenerator[Delta, None]:
        for _ in range(100):
            yield Delta(text="word ")

    monkeypatch.setattr(speak, "words", words)

    async def leave(at: str) -> None:
        async with aclosing(answer(rich, REQUEST)) as parts:
            async for part in parts:
                if part.kind == at:
                    return

    asyncio.run(leave("passages"))
    assert money(rich) == (0, 0, 0)
    asyncio.run(leave("text"))
    spent, held, total = money(rich)
    assert spent > 0 and (held, total) == (0, 0)
    assert outcomes() == []


def test_who_leaves_before_the_first_word_pays_nothing(rich: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    async def leave() -> None:
        asked, closed = asyncio.Event(), asyncio.Event()

        async def words(*_: object, **__: object) -> AsyncGenerator[Delta, None]:
            try:
                asked.set()
                await asyncio.Event().wait()
                yield Delta(text="never")
            finally:
                closed.set()

        monkeypatch.setattr(speak, "words", words)
        asking = asyncio.create_task(collected(rich))
        await asked.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert closed.is_set()

    asyncio.run(asyncio.wait_for(leave(), 30))
    assert money(rich) == (0, 0, 0) and outcomes() == []


def test_a_request_that_only_stable_can_take_is_stables_and_no_failure(
    rich: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt_for = speak.prompt_for

    def narrow(speaker: speak.Speaker, *rest: object) -> speak.Prompt:
        if speaker.adapter == "adapters/run_2":
            raise BadInput("chat.too_long", field="messages", tokens=9, most=8)
        return prompt_for(speaker, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(speak, "prompt_for", narrow)
    parts = asyncio.run(collected(rich))
    assert parts[0].headers["X-Routing-Arm"] == "stable" and parts[-1].receipt is not None
    assert outcomes() == [("stable", False)]
