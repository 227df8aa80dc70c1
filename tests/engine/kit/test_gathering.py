"""Requests that come together are made together, and nobody fails for another's."""

import asyncio
import time
from collections.abc import Sequence

import pytest

from engine.kit.errors import NotFound
from engine.kit.gathering import Gathering, each


def run(work: Gathering[int, int], *asked: int) -> list[int | BaseException]:
    async def together() -> list[int | BaseException]:
        return await asyncio.gather(*(work.ask(one) for one in asked), return_exceptions=True)

    return asyncio.run(together())


def test_what_comes_while_a_round_is_under_way_shares_the_next() -> None:
    rounds: list[int] = []

    def double(asked: Sequence[int]) -> list[int]:
        rounds.append(len(asked))
        time.sleep(0.05)
        return [2 * one for one in asked]

    work = Gathering(double, most=8)

    async def staggered() -> list[int]:
        first = asyncio.ensure_future(work.ask(0))
        await asyncio.sleep(0.01)
        return [*await asyncio.gather(*(work.ask(n) for n in range(1, 20))), await first]

    assert sorted(asyncio.run(staggered())) == [2 * n for n in range(20)]
    assert rounds == [1, 8, 8, 3]


def test_a_refusal_reaches_only_the_one_it_is_for() -> None:
    def even(one: int) -> int:
        if one % 2:
            raise NotFound("market.unknown_name", name=str(one))
        return one

    answers = run(Gathering(lambda asked: each(even, asked)), 0, 1, 2)
    assert (answers[0], answers[2]) == (0, 2) and isinstance(answers[1], NotFound)


def test_who_breaks_a_round_breaks_it_for_nobody_else() -> None:
    def fragile(asked: Sequence[int]) -> list[int]:
        if 3 in asked:
            raise ZeroDivisionError
        return list(asked)

    answers = run(Gathering(fragile), *range(6))
    assert [a for a in answers if not isinstance(a, BaseException)] == [0, 1, 2, 4, 5]
    assert isinstance(answers[3], ZeroDivisionError)


def test_one_who_leaves_does_not_keep_the_others_from_their_answers() -> None:
    def slow(asked: Sequence[int]) -> list[int]:
        time.sleep(0.05)
        return list(asked)

    work = Gathering(slow)

    async def leave() -> list[int]:
        asking = [asyncio.ensure_future(work.ask(n)) for n in range(3)]
        await asyncio.sleep(0.01)
        asking[1].cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking[1]
        return [await asking[0], await asking[2]]

    assert asyncio.run(leave()) == [0, 2]


def test_every_event_loop_has_its_own_rounds() -> None:
    work: Gathering[int, int] = Gathering(lambda asked: list(asked))
    assert run(work, 1, 2) == [1, 2]
    assert run(work, 3) == [3]
