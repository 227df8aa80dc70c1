"""The conversation with an expert: what is shown, paid, refused and stopped."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from apps.market import chat
from apps.market.chat import ChatView, Turn
from engine.accounts.schemas import Person
from engine.billing import holds
from engine.flows import top_up_wallet
from engine.inference import pool
from engine.inference.fake import FakeModel
from engine.kit.errors import BadInput
from engine.kit.prompts import REFUSAL
from engine.kit.settings import settings
from engine.knowledge.schemas import Passage
from tests.apps.market.conftest import Publish


def views_of(
    person: Person, question: str, turns: Sequence[Turn] = (), language: str = "en"
) -> list[ChatView]:
    async def collect() -> list[ChatView]:
        return [view async for view in chat.ask(person, "help-desk", turns, question, "en")]

    return asyncio.run(collect())


def slowly(monkeypatch: pytest.MonkeyPatch, delay: float) -> None:
    """Let the stand-in model pause before each word."""
    slow = pool.ModelPool(FakeModel(delay=delay), materialise=Path)
    monkeypatch.setattr(pool, "pool", lambda: slow)


def test_an_answer_streams_and_ends_with_its_cost(chen: Person, publish: Publish) -> None:
    publish()
    views = views_of(chen, "How long do returns take?")
    texts = [view.turns[-1].content for view in views]
    assert texts[0] == "" and texts[-1] == REFUSAL["en"]
    assert all(after.startswith(before) for before, after in zip(texts, texts[1:], strict=False))
    assert all(view.busy for view in views[:-1])
    last = views[-1]
    assert not last.busy and last.paid and last.question == ""
    cost = last.turns[-1].cost
    assert cost is not None
    receipt = top_up_wallet.receipt(chen, cost.receipt_id)
    assert receipt.charged_micro == cost.charged_micro
    foot = chat.foot(last.turns[-1], "help-desk", "en")
    assert f"{cost.input_tokens} + {cost.output_tokens} tokens" in foot
    assert f"/en/market/wallet?receipt={cost.receipt_id}" in foot


def test_the_next_question_carries_the_conversation(chen: Person, publish: Publish) -> None:
    publish()
    first = views_of(chen, "How long do returns take?")[-1]
    kept = chat.read(chat.save(first.turns))
    assert kept == first.turns
    second = views_of(chen, "And refunds?", kept)[-1]
    assert [turn.role for turn in second.turns] == ["user", "assistant"] * 2
    costs = [turn.cost.input_tokens for turn in second.turns if turn.cost]
    assert costs[1] > costs[0]


def test_an_empty_wallet_keeps_the_question_and_says_what_is_missing(poor: Person, publish: Publish) -> None:
    publish()
    last = views_of(poor, "How long do returns take?")[-1]
    assert last.question == "How long do returns take?" and last.turns == () and not last.busy
    assert "/en/market/wallet" in last.notice and "your question is kept" in last.notice
    assert top_up_wallet.receipts(poor) == []


def test_a_model_server_that_starts_is_named_with_the_wait(
    chen: Person, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish()
    monkeypatch.setenv("MBE_INFERENCE", "auto")
    settings.cache_clear()
    last = views_of(chen, "How long do returns take?")[-1]
    assert "The model server is starting, try again in 10 s" in last.notice
    assert last.question == "How long do returns take?" and last.turns == ()


def test_an_empty_question_is_not_asked(chen: Person, publish: Publish) -> None:
    publish()
    (view,) = views_of(chen, "  ")
    assert view.notice and not view.busy and top_up_wallet.receipts(chen) == []


def test_asking_again_replaces_the_answer_but_a_refusal_leaves_it(
    chen: Person, poor: Person, publish: Publish
) -> None:
    publish()
    first = views_of(chen, "How long do returns take?")[-1]

    async def again(person: Person) -> ChatView:
        return [view async for view in chat.again(person, "help-desk", first.turns, "en")][-1]

    second = asyncio.run(again(chen))
    assert len(second.turns) == 2 and second.turns[0] == first.turns[0]
    assert second.turns[1].cost != first.turns[1].cost
    refused = asyncio.run(again(poor))
    assert refused.turns == first.turns and refused.notice and refused.question == ""


def test_leaving_mid_answer_pays_for_the_words_that_came(
    chen: Person, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish()
    slowly(monkeypatch, 0.05)

    async def leave() -> tuple[Turn, ...]:
        views = chat.ask(chen, "help-desk", (), "How long do returns take?", "en")
        async for view in views:
            if len(view.turns[-1].content.split()) == 3:
                break
        await views.aclose()
        return view.turns

    turns = asyncio.run(leave())
    (receipt,) = top_up_wallet.receipts(chen)
    assert receipt.usage["finish"] == "cancelled" and receipt.usage["output_tokens"] == 3
    assert top_up_wallet.wallet(chen).held_micro == 0
    shown = asyncio.run(chat.stopped(chen, "help-desk", turns, "en"))
    cost = shown.turns[-1].cost
    assert cost is not None and cost.receipt_id == receipt.id and shown.paid
    assert shown.turns[-1].content == turns[-1].content
    assert "stopped" in chat.foot(shown.turns[-1], "help-desk", "en")


def test_a_task_cancelled_while_the_hold_is_placed_leaves_no_hold_behind(
    chen: Person, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish()
    entered = anyio.Event()
    hold_many = holds.hold_many

    async def cancel() -> None:
        loop = asyncio.get_running_loop()

        def slow(*given: Any) -> Any:
            held = hold_many(*given)
            loop.call_soon_threadsafe(entered.set)
            time.sleep(0.2)
            return held

        monkeypatch.setattr(holds, "hold_many", slow)

        async def drain() -> None:
            async for _ in chat.ask(chen, "help-desk", (), "How long do returns take?", "en"):
                pass

        task = asyncio.create_task(drain())
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert top_up_wallet.wallet(chen).held_micro == 0
    (receipt,) = top_up_wallet.receipts(chen)
    assert receipt.state == "released" and receipt.charged_micro == 0


def test_a_stop_among_several_calls_does_not_guess_the_receipt(chen: Person, publish: Publish) -> None:
    publish()
    asked = views_of(chen, "One?")[0].turns
    views_of(chen, "Two?")
    shown = asyncio.run(chat.stopped(chen, "help-desk", asked, "en"))
    assert shown.turns[-1].cost is None and "/en/market/wallet" in shown.notice


def test_passages_open_with_the_words_of_the_answer_marked_and_escaped() -> None:
    passage = Passage(
        chunk_id="c",
        document_id="d",
        document_name="re<turns>.md",
        heading="Returns",
        text="Returns take 30 days. <img src=x>",
        start=0,
        end=33,
        score=1.0,
        cosine=0.9,
        lexical=1.0,
    )
    turn = Turn(role="assistant", content="You have 30 days.", passages=(passage,))
    foot = chat.foot(turn, "help-desk", "en")
    assert "<mark>30</mark> <mark>days</mark>" in foot
    assert "1 · re&lt;turns&gt;.md" in foot and "<img" not in foot
    address = "/en/market/passage?expert=help-desk&amp;chunk=c&amp;from=0&amp;to=33"
    assert f'<a href="{address}" target="_blank" rel="noopener"' in foot
    assert 'aria-label="See it in the document: passage 1, re&lt;turns&gt;.md, in a new tab"' in foot


def test_what_a_browser_made_up_is_refused() -> None:
    for saved in ([{"role": "system", "content": "x"}], "text", [{"role": "user"}]):
        with pytest.raises(BadInput):
            chat.read(saved)


def test_a_question_without_an_answer_is_not_sent_again() -> None:
    turns = (
        Turn(role="user", content="one"),
        Turn(role="assistant", content=""),
        Turn(role="user", content="two"),
    )
    assert chat.messages(turns) == ({"role": "user", "content": "two"},)
