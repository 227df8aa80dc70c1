"""What both limiters do, at their door."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.kit.errors import BadInput, TooMany
from engine.serving.limits import Kind, Limit, Pass, Scope
from engine.serving.schemas import LimitReached
from tests.engine.serving.conftest import Bench


def limit(kind: Kind, most: int, scope: Scope = "key", subject: str = "k1") -> Limit:
    return Limit(scope=scope, subject=subject, kind=kind, most=most)


def enter(bench: Bench, *limits: Limit, tokens: int = 0) -> Pass:
    return bench.run(bench.door.enter(limits, tokens))


def leave(bench: Bench, granted: Pass, tokens: int = 0) -> None:
    bench.run(bench.door.leave(granted, tokens))


def refused(bench: Bench, *limits: Limit, tokens: int = 0) -> LimitReached:
    with pytest.raises(LimitReached) as told:
        enter(bench, *limits, tokens=tokens)
    return told.value


class TestWindows:
    @pytest.mark.parametrize(("kind", "length"), [("requests_per_minute", 60), ("requests_per_day", 86400)])
    def test_as_many_as_granted_come_in_and_one_more_when_they_are_old(
        self, bench: Bench, kind: Kind, length: int
    ) -> None:
        two = limit(kind, 2)
        leave(bench, enter(bench, two))
        leave(bench, enter(bench, two))
        bench.clock.move(length - 1)
        error = refused(bench, two)
        assert 1 <= error.retry_after <= 1 + length / 240 + 1
        bench.clock.move(error.retry_after)
        enter(bench, two)

    @pytest.mark.parametrize("offset", [0, 0.05, 0.1, 0.126543, 0.126544, 0.2])
    def test_a_request_counts_for_the_whole_of_its_minute_and_little_longer(
        self, bench: Bench, offset: float
    ) -> None:
        one = limit("requests_per_minute", 1)
        bench.clock.move(offset)
        enter(bench, one)
        bench.clock.move(59.999999)
        refused(bench, one)
        bench.clock.move(0.250001)
        enter(bench, one)

    def test_no_minute_has_more_than_granted_wherever_it_begins(self, bench: Bench) -> None:
        ten, came = limit("requests_per_minute", 10), []
        for _ in range(400):
            bench.clock.move(0.7)
            try:
                enter(bench, ten)
            except TooMany:
                continue
            came.append(bench.clock.now)
        assert len(came) > 40
        for first, eleventh in zip(came, came[10:], strict=False):
            assert eleventh - first >= 60_000_000

    def test_tokens_are_counted_as_estimated_and_corrected(self, bench: Bench) -> None:
        hundred = limit("tokens_per_minute", 100)
        first = enter(bench, hundred, tokens=100)
        refused(bench, hundred, tokens=1)
        leave(bench, first, 40)
        refused(bench, hundred, tokens=61)
        leave(bench, enter(bench, hundred, tokens=60), 75)
        refused(bench, hundred, tokens=0)  # 115 were used: what was used in excess is counted too
        bench.clock.move(60.25)
        enter(bench, hundred, tokens=100)

    def test_tokens_given_back_after_their_minute_change_nothing(self, bench: Bench) -> None:
        hundred = limit("tokens_per_minute", 100)
        first = enter(bench, hundred, tokens=80)
        bench.clock.move(30)
        enter(bench, hundred, tokens=20)
        bench.clock.move(31)
        second = enter(bench, hundred, tokens=80)
        leave(bench, first, 10)
        refused(bench, hundred, tokens=1)
        leave(bench, second, 80)
        refused(bench, hundred, tokens=1)

    def test_tokens_used_in_excess_after_their_minute_are_counted_then(self, bench: Bench) -> None:
        hundred = limit("tokens_per_minute", 100)
        first = enter(bench, hundred, tokens=10)
        bench.clock.move(90)
        leave(bench, first, 50)
        refused(bench, hundred, tokens=61)
        enter(bench, hundred, tokens=60)

    @pytest.mark.parametrize("order", [1, -1])
    def test_waiting_as_told_suffices_for_the_slowest_of_several(self, bench: Bench, order: int) -> None:
        limits = [limit("requests_per_minute", 1), limit("tokens_per_minute", 100, "tenant", "t")][::order]
        leave(bench, enter(bench, limit("tokens_per_minute", 100, "tenant", "t"), tokens=30), 30)
        bench.clock.move(20)
        leave(bench, enter(bench, *limits, tokens=50), 50)
        bench.clock.move(20)
        assert refused(bench, limit("tokens_per_minute", 100, "tenant", "t"), tokens=50).retry_after <= 21
        error = refused(bench, *limits, tokens=50)
        assert error.facts["kind"] == "requests_per_minute"
        assert 40 <= error.retry_after <= 41
        bench.clock.move(error.retry_after)
        enter(bench, *limits, tokens=50)

    def test_another_most_counts_what_was_counted(self, bench: Bench) -> None:
        for _ in range(3):
            enter(bench, limit("requests_per_minute", 5))
        refused(bench, limit("requests_per_minute", 3))
        enter(bench, limit("requests_per_minute", 4))


class TestPlaces:
    def test_a_place_is_free_again_when_its_call_left(self, bench: Bench) -> None:
        two = limit("parallel", 2)
        first, second = enter(bench, two), enter(bench, two)
        assert refused(bench, two).retry_after == 1
        leave(bench, first)
        enter(bench, two)
        refused(bench, two)
        leave(bench, second)

    def test_leaving_twice_is_leaving_once(self, bench: Bench) -> None:
        limits = [limit("parallel", 2), limit("tokens_per_minute", 100)]
        first, second = enter(bench, *limits, tokens=50), enter(bench, *limits, tokens=50)
        leave(bench, first, 20)
        leave(bench, first, 0)
        refused(bench, *limits, tokens=31)
        enter(bench, *limits, tokens=30)
        refused(bench, limits[0])
        leave(bench, second, 50)

    def test_many_at_once_are_never_more_inside_than_granted(self, bench: Bench) -> None:
        seven, inside, highest, served = limit("parallel", 7, "tenant", "t"), 0, 0, 0

        async def call(number: int) -> None:
            nonlocal inside, highest, served
            try:
                granted = await bench.door.enter([seven, limit("parallel", 3, "person", str(number % 5))], 0)
            except TooMany:
                return
            inside += 1
            highest = max(highest, inside)
            await asyncio.sleep(0.001 * (number % 4))
            inside -= 1
            served += 1
            await bench.door.leave(granted, 0)

        async def all_at_once() -> None:
            for _ in range(4):
                await asyncio.gather(*(call(number) for number in range(60)))

        bench.run(all_at_once())
        assert highest == 7 and served >= 28
        for _ in range(7):
            enter(bench, seven)
        refused(bench, seven)

    def test_cancelled_calls_keep_no_place(self, bench: Bench) -> None:
        one = limit("parallel", 1)

        async def call(began: asyncio.Event) -> None:
            granted = await bench.door.enter([one], 0)
            try:
                began.set()
                await asyncio.sleep(60)
            finally:
                await bench.door.leave(granted, 0)

        async def cancelled_inside() -> None:
            began = asyncio.Event()
            task = asyncio.create_task(call(began))
            await began.wait()
            task.cancel()
            await asyncio.wait([task])

        async def cancelled_at_the_door(steps: int) -> None:
            task = asyncio.create_task(call(asyncio.Event()))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            await asyncio.sleep(0.05)

        bench.run(cancelled_inside())
        for steps in range(5):
            bench.run(cancelled_at_the_door(steps))
        enter(bench, one)
        refused(bench, one)


class TestSeveralLimits:
    def test_what_one_limit_refuses_no_other_counts(self, bench: Bench) -> None:
        loose = [
            limit("requests_per_minute", 3, "tenant", "t"),
            limit("tokens_per_minute", 30, "project", "p"),
            limit("requests_per_day", 3, "person", "a"),
            limit("parallel", 3),
        ]
        closed = limit("requests_per_minute", 1, "key", "closed")
        leave(bench, enter(bench, closed))
        for place in range(5):
            for _ in range(4):
                refused(bench, *loose[:place], closed, *loose[place:], tokens=10)
        for _ in range(3):
            enter(bench, *loose, tokens=10)
        assert [refused(bench, one, tokens=10).facts["scope"] for one in loose] == [
            "tenant",
            "project",
            "person",
            "key",
        ]

    def test_the_same_name_elsewhere_is_someone_else(self, bench: Bench) -> None:
        for scope in ("tenant", "project", "person", "key"):
            enter(bench, limit("requests_per_minute", 1, scope, "x"))
        enter(bench, limit("requests_per_minute", 1, "key", "x:y"))
        refused(bench, limit("requests_per_minute", 1, "key", "x"))

    def test_of_two_limits_for_the_same_the_tighter_holds_and_counts_once(self, bench: Bench) -> None:
        both = [limit("requests_per_minute", 9), limit("requests_per_minute", 2)]
        enter(bench, *both)
        enter(bench, *both)
        assert refused(bench, *both).facts["most"] == 2

    def test_without_limits_everybody_comes_in(self, bench: Bench) -> None:
        granted = enter(bench, tokens=10**9)
        assert granted.headers() == {}
        leave(bench, granted, 3)


class TestWords:
    def test_a_refusal_says_whose_limit_and_when_again(self, bench: Bench) -> None:
        one = limit("requests_per_minute", 1, "project", "p")
        enter(bench, one)
        error = refused(bench, one)
        assert (error.key, error.status) == ("serving.limit_reached", 429)
        assert error.facts == {
            "limit": "project_requests_per_minute",
            "scope": "project",
            "kind": "requests_per_minute",
            "most": 1,
            "retry_after": error.retry_after,
        }
        assert 60 <= error.retry_after <= 61
        assert "This project has reached its limit: requests per minute, at most 1." in error.message("en")
        assert f"请在 {error.retry_after} 秒后重试" in error.message("zh")
        assert "该项目已达到上限：每分钟请求数最多为 1。" in error.message("zh")
        headers = error.headers()
        assert headers.pop("x-ratelimit-reset-requests") in ("1m0s", "1m1s")
        assert headers == {"x-ratelimit-limit-requests": "1", "x-ratelimit-remaining-requests": "0"}

    def test_of_tokens_some_may_be_left_and_only_too_few(self, bench: Bench) -> None:
        one = limit("tokens_per_minute", 100)
        enter(bench, one, tokens=60)
        headers = refused(bench, one, tokens=60).headers()
        assert headers.keys() == {"x-ratelimit-limit-tokens", "x-ratelimit-reset-tokens"}
        assert headers["x-ratelimit-limit-tokens"] == "100"

    @pytest.mark.parametrize(
        ("kind", "most", "tokens"),
        [("tokens_per_minute", 99, 100), ("requests_per_day", 0, 0), ("parallel", 0, 0)],
    )
    def test_what_can_never_fit_is_not_to_be_tried_again(
        self, bench: Bench, kind: Kind, most: int, tokens: int
    ) -> None:
        other = limit("requests_per_minute", 1)
        with pytest.raises(BadInput) as told:
            enter(bench, other, limit(kind, most, "person"), tokens=tokens)
        assert f"at most {most}" in told.value.message("en")
        assert f"最多为 {most}" in told.value.message("zh")
        enter(bench, other)

    def test_headers_are_those_of_the_tightest_limit(self, bench: Bench) -> None:
        limits = [
            limit("requests_per_minute", 50),
            limit("requests_per_day", 10),
            limit("tokens_per_minute", 1000, "tenant", "t"),
            limit("tokens_per_minute", 500),
            limit("parallel", 2),
        ]
        enter(bench, *limits, tokens=100)
        bench.clock.move(10)
        headers = enter(bench, *limits, tokens=150).headers()
        assert headers["x-ratelimit-limit-requests"] == "10"
        assert headers["x-ratelimit-remaining-requests"] == "8"
        assert headers["x-ratelimit-reset-requests"].startswith("24h")
        assert headers["x-ratelimit-limit-tokens"] == "500"
        assert headers["x-ratelimit-remaining-tokens"] == "250"
        assert headers["x-ratelimit-reset-tokens"] in ("1m0s", "1m1s")


MOVES = st.one_of(
    st.tuples(st.just("enter"), st.integers(0, 12), st.integers(0, 2)),
    st.tuples(st.just("leave"), st.integers(0, 30), st.integers(0, 12)),
    st.tuples(st.just("wait"), st.sampled_from([0, 0.1, 0.25, 7, 29.9, 30, 60]), st.just(0)),
)


def check_moves(bench: Bench, moves: list[tuple[str, float, int]]) -> None:
    """Replay moves, and hold what came in against every limit as written, over the true last minute."""
    bench.again()
    clock, minute = bench.clock, 60_000_000
    persons = [f"p{number}" for number in range(2)]
    inside: list[tuple[Pass, int]] = []
    came: list[tuple[int, str]] = []
    used: list[list[int]] = []
    for move, amount, which in moves:
        if move == "wait":
            clock.move(amount)
        elif move == "leave" and inside:
            granted, place = inside.pop(which % len(inside))
            leave(bench, granted, int(amount))
            leave(bench, granted, 10**6)
            if amount < granted.tokens:
                used[place][1] = int(amount)
            else:
                used.append([clock.now, int(amount) - granted.tokens])
        elif move == "enter":
            person = persons[which % 2]
            limits = [
                limit("parallel", 3, "tenant", "t"),
                limit("requests_per_minute", 4, "person", person),
                limit("tokens_per_minute", 20, "tenant", "t"),
            ]
            try:
                granted = enter(bench, *limits, tokens=int(amount))
            except TooMany as error:
                assert 1 <= error.retry_after <= 61
                continue
            came.append((clock.now, person))
            used.append([clock.now, int(amount)])
            inside.append((granted, len(used) - 1))
            assert len(inside) <= 3
            assert sum(1 for at, who in came if who == person and clock.now - at < minute) <= 4
            assert sum(count for at, count in used if clock.now - at < minute) <= 20
    for granted, _ in inside:
        leave(bench, granted, 5)
    alone = limit("tokens_per_minute", 20, "tenant", "t"), limit("requests_per_minute", 4, "person", "p0")
    try:
        enter(bench, *alone, tokens=9)
    except TooMany as error:
        clock.move(error.retry_after)
        enter(bench, *alone, tokens=9)


class TestAnyOrder:
    def test_no_order_of_coming_and_leaving_exceeds_a_limit(self, bench: Bench) -> None:
        examples = 60 if type(bench.door).__name__ == "InMemory" else 12

        @settings(
            max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )
        @given(st.lists(MOVES, max_size=60))
        def check(moves: list[tuple[str, float, int]]) -> None:
            check_moves(bench, moves)

        check()
