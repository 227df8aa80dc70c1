"""When a model server is left alone, and when it is asked again. Nothing here reads a clock: times are given.

A breaker counts the calls of the last half minute. Too many errors open it: no call goes there any more.
After a while it is half open, and one probe decides: a good one closes it, a bad one opens it for twice as
long.
"""

from collections import deque
from dataclasses import dataclass
from typing import Literal

State = Literal["closed", "open", "half_open"]


@dataclass(frozen=True, kw_only=True)
class Terms:
    """When a breaker opens and for how long; times in seconds, `window` as so many buckets of one second.

    It opens when more than one in `share` of at least `least` calls failed, or `row` calls one after the
    other. A closed one wants a probe when no call went well for `quiet`. A probe that does not end is given
    up after `patience`.
    """

    window: int = 30
    least: int = 20
    share: int = 20
    row: int = 5
    first: float = 10.0
    longest: float = 160.0
    quiet: float = 15.0
    patience: float = 60.0


TERMS = Terms()


class Breaker:
    """What is known of one server. Times are those of one clock that never goes back, in seconds."""

    def __init__(self, at: float, terms: Terms = TERMS) -> None:
        self._terms = terms
        self._buckets: deque[tuple[int, int, int]] = deque()
        self._calls = self._errors = self._row = 0
        self._wait = terms.first
        self._opened: float | None = None
        self._probing: float | None = None
        self._quiet_since = at

    def state(self, at: float) -> State:
        """Return whether calls go there, and if not, whether it is time for a probe."""
        if self._opened is None:
            return "closed"
        return "open" if at < self._opened + self._wait else "half_open"

    def wait(self, at: float) -> float:
        """Return in how many seconds a probe is wanted, a closed one's if nothing goes well till then."""
        since, wait = (
            (self._quiet_since, self._terms.quiet) if self._opened is None else (self._opened, self._wait)
        )
        if self._probing is not None:
            since, wait = max((since, wait), (self._probing, self._terms.patience), key=sum)
        return max(0.0, since + wait - at)

    def record(self, good: bool, at: float) -> None:
        """Count a call that ended. While this is not closed, it began earlier and changes nothing."""
        if self._opened is not None:
            return
        if good:
            self._quiet_since, self._row = at, 0
        else:
            self._row += 1
        self._count(int(at), not good)
        too_many = self._calls >= self._terms.least and self._errors * self._terms.share > self._calls
        if too_many or self._row >= self._terms.row:
            self._open(at, self._terms.first)

    def take_probe(self, at: float) -> bool:
        """Say whether whoever asks has to probe now; of all who ask one is told to."""
        if self.wait(at) > 0:
            return False
        self._probing = at
        return True

    def drop_probe(self) -> None:
        """Note that the probe was left without a result."""
        self._probing = None

    def probed(self, good: bool, at: float) -> None:
        """Note how a probe ended. A good one closes this whenever it comes, a bad one counts when due."""
        self._probing = None
        if self._opened is None:
            self.record(good, at)
            # The next one is due after the same time, also when this one failed.
            self._quiet_since = at
        elif good:
            self._opened, self._row, self._wait, self._quiet_since = None, 0, self._terms.first, at
        elif self.state(at) == "half_open":
            self._open(at, min(2 * self._wait, self._terms.longest))

    def _open(self, at: float, wait: float) -> None:
        self._opened, self._wait = at, wait
        self._calls = self._errors = 0
        self._buckets.clear()

    def _count(self, second: int, error: bool) -> None:
        while self._buckets and self._buckets[0][0] <= second - self._terms.window:
            _, calls, errors = self._buckets.popleft()
            self._calls, self._errors = self._calls - calls, self._errors - errors
        calls = errors = 0
        if self._buckets and self._buckets[-1][0] == second:
            _, calls, errors = self._buckets.pop()
        self._buckets.append((second, calls + 1, errors + error))
        self._calls, self._errors = self._calls + 1, self._errors + error
