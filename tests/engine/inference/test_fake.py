"""The model without weights: it quotes, refuses, counts and stops like a real one."""

import asyncio
import time
from typing import Any

import pytest

from engine.inference.fake import FakeModel
from engine.inference.schemas import Delta
from engine.kit.prompts import REFUSAL, Message, grounded

PASSAGES = [
    "Tents dry in a day. Returns are free within 30 days. Boots need wax.",
    "发票可在订单页面下载。退货需在七天内申请。",
]


def hear(question: str, passages: list[str] = PASSAGES, **params: Any) -> list[Delta]:
    asked: list[Message] = [{"role": "user", "content": question}]

    async def listen() -> list[Delta]:
        return [d async for d in FakeModel().stream("base", grounded(asked, passages), **params)]

    return asyncio.run(listen())


def text_of(deltas: list[Delta]) -> str:
    return "".join(d.text for d in deltas).strip()


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Are returns free?", "Returns are free within 30 days."),
        ("怎么下载发票？", "发票可在订单页面下载。"),
        ("退货期限多久？", "退货需在七天内申请。"),
        ("Who won yesterday?", REFUSAL["en"]),
        ("明天会下雪吗？", REFUSAL["zh"]),
    ],
)
def test_it_quotes_the_closest_sentence_or_refuses(question: str, answer: str) -> None:
    assert text_of(hear(question)) == answer


def test_without_passages_it_refuses() -> None:
    assert text_of(hear("Are returns free?", [])) == REFUSAL["en"]


def test_it_streams_word_by_word_and_counts_as_it_goes() -> None:
    deltas = hear("Are returns free?")
    assert len(deltas) == 7  # six words and the end
    assert [d.usage.completion_tokens for d in deltas if d.usage] == [1, 2, 3, 4, 5, 6, 6]
    assert deltas[-1].finish_reason == "stop"


def test_limits_are_honoured() -> None:
    cut = hear("Are returns free?", max_tokens=2)
    assert (text_of(cut), cut[-1].finish_reason) == ("Returns are", "length")
    assert text_of(hear("Are returns free?", stop=["within"])) == "Returns are free"


def test_a_delay_slows_every_piece() -> None:
    async def listen() -> float:
        started = time.monotonic()
        await FakeModel(delay=0.05).complete("base", [{"role": "user", "content": "?"}], max_tokens=4)
        return time.monotonic() - started

    assert asyncio.run(listen()) >= 0.2
