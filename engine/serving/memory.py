"""Limits of one process, counted in its memory."""

import time
from collections import deque
from collections.abc import Callable, Sequence

from engine.serving.schemas import (
    SECOND,
    STEPS,
    TOKENS,
    WINDOWS,
    Kind,
    Limit,
    LimitReached,
    Pass,
    wanted,
)

SWEPT = 2  # counters looked at per limit of a call, whoever's, to forget those that count nothing any more


def now_here() -> int:
    """Return a time in microseconds that never goes back."""
    return time.monotonic_ns() // 1000


class _Step:
    """What was counted during one step of a window."""

    __slots__ = ("index", "count", "over")

    def __init__(self, index: int) -> None:
        self.index, self.count, self.over = index, 0, False


class _Window:
    """What was counted during the last minute or day.

    Each step counts until the whole of it is older than the window, so no span of a window's length ever
    holds more than the limit, and what is freed when is known in advance.
    """

    __slots__ = ("_length", "_step", "_steps", "total")

    def __init__(self, length: int) -> None:
        self._length, self._step = length, length // STEPS
        self._steps: deque[_Step] = deque()
        self.total = 0

    def _end(self, step: _Step, now: int) -> int:
        return (step.index + 1) * self._step + self._length - now

    def idle(self, now: int) -> bool:
        """Forget the steps that are over; return whether none is left."""
        steps = self._steps
        while steps and self._end(steps[0], now) <= 0:
            step = steps.popleft()
            step.over = True
            self.total -= step.count
        return not steps

    def wait(self, need: int, most: int, now: int) -> int:
        """Return in how many microseconds `need` fits, at most `most`; 0 is now."""
        self.idle(now)
        over = self.total + need - most
        for step in self._steps:
            if over <= 0:
                break
            over -= step.count
            if over <= 0:
                return self._end(step, now)
        return 0

    def add(self, need: int, now: int) -> _Step | None:
        """Count `need`; return where."""
        if not need:
            return None
        index = now // self._step
        if not self._steps or self._steps[-1].index != index:
            self._steps.append(_Step(index))
        self._steps[-1].count += need
        self.total += need
        return self._steps[-1]

    def take_back(self, step: _Step, count: int) -> None:
        """Count less where it was counted; nothing happens when that is over."""
        if not step.over:
            step.count -= count
            self.total -= count

    def reset(self, now: int) -> int:
        """Return in how many microseconds nothing will be counted."""
        return self._end(self._steps[-1], now) if self._steps else 0


class _Places:
    """How many calls are under way."""

    __slots__ = ("total",)

    def __init__(self) -> None:
        self.total = 0

    def idle(self, now: int) -> bool:
        """Return whether no call is under way."""
        return not self.total

    def wait(self, need: int, most: int, now: int) -> int:
        """Return 0 when one more fits; else a second, since nobody knows when a call will end."""
        return 0 if self.total + need <= most else SECOND

    def add(self, need: int, now: int) -> None:
        """Take a place."""
        self.total += need

    def reset(self, now: int) -> int:
        """A place is given back when its call ends."""
        return 0


class InMemory:
    """Limits of this process alone. Not for several threads: nothing between checking and counting waits."""

    def __init__(self, clock: Callable[[], int] = now_here) -> None:
        self._clock = clock
        self._counters: dict[tuple[str, str, Kind], _Window | _Places] = {}
        self._round: deque[tuple[str, str, Kind]] = deque()

    async def enter(self, limits: Sequence[Limit], tokens: int) -> Pass:
        """Let a call in, or raise LimitReached and count nothing."""
        now = self._clock()
        self._sweep(SWEPT * len(limits), now)
        needs = [(limit, need, self._counter(limit)) for limit, need in wanted(limits, tokens)]
        longest, reached = 0, None
        for limit, need, counter in needs:
            wait = counter.wait(need, limit.most, now)
            if wait > longest:
                longest, reached = wait, limit
        if reached is not None:
            raise LimitReached(reached, longest)
        granted = Pass("", tokens)
        for limit, need, counter in needs:
            granted.places.append((limit, counter, counter.add(need, now)))
            granted.standings.append((limit, max(0, limit.most - counter.total), counter.reset(now)))
        return granted

    async def leave(self, granted: Pass, tokens: int) -> None:
        """Give the places of a call back, and count the tokens that it really used."""
        if granted.left:
            return
        granted.left = True
        for limit, counter, step in granted.places:
            if isinstance(counter, _Places):
                counter.total -= 1
            elif limit.kind in TOKENS and tokens < granted.tokens:
                counter.take_back(step, granted.tokens - tokens)
            elif limit.kind in TOKENS:
                self._counter(limit).add(tokens - granted.tokens, self._clock())

    async def close(self) -> None:
        """Nothing is held open."""

    def __len__(self) -> int:
        return len(self._counters)

    def _counter(self, limit: Limit) -> _Window | _Places:
        key = (limit.scope, limit.subject, limit.kind)
        found = self._counters.get(key)
        if found is None:
            length = WINDOWS.get(limit.kind)
            found = self._counters[key] = _Window(length) if length else _Places()
            self._round.append(key)
        return found

    def _sweep(self, many: int, now: int) -> None:
        for _ in range(min(many, len(self._round))):
            key = self._round.popleft()
            if self._counters[key].idle(now):
                del self._counters[key]
            else:
                self._round.append(key)
