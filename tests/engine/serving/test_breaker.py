"""When a server is left alone and asked again, by a clock that the test moves."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.serving.breaker import TERMS, Breaker


def fed(results: str, at: float = 0.0) -> Breaker:
    """A breaker that saw these results at one moment: "." went well, "x" did not."""
    breaker = Breaker(at)
    for one in results:
        breaker.record(one == ".", at)
    return breaker


@pytest.mark.parametrize(
    ("results", "state"),
    [
        ("", "closed"),
        ("xxxx", "closed"),
        ("xxxxx", "open"),
        ("xxxx.xxxx", "closed"),
        ("x.x." + "." * 15, "closed"),
        ("x.x." + "." * 16, "open"),
        ("x" + "." * 19, "closed"),
        ("." * 19 + "x", "closed"),
        ("." * 38 + "xx", "closed"),
        ("." * 37 + "xx", "open"),
    ],
)
def test_what_opens_it(results: str, state: str) -> None:
    assert fed(results).state(0.0) == state


def test_what_is_older_than_half_a_minute_does_not_count() -> None:
    breaker = fed("x.x")
    for second in range(1, 30):
        breaker.record(True, float(second))
        assert (breaker.state(float(second)) == "closed") is (second < 17)
    breaker = fed("x.x")
    for _ in range(30):
        breaker.record(True, 30.0)
    assert breaker.state(30.0) == "closed"


def test_a_probe_decides_and_failed_ones_double_the_wait() -> None:
    breaker, at = fed("xxxxx"), 0.0
    for wait in (10, 20, 40, 80, 160, 160):
        assert breaker.state(at + wait - 0.1) == "open" and not breaker.take_probe(at + wait - 0.1)
        at += wait
        assert breaker.state(at) == "half_open"
        assert breaker.take_probe(at) and not breaker.take_probe(at)
        breaker.probed(False, at)
    at += 160
    assert breaker.take_probe(at)
    breaker.probed(True, at)
    assert breaker.state(at) == "closed"
    for _ in range(5):
        breaker.record(False, at)
    assert breaker.state(at + 9.9) == "open" and breaker.state(at + 10) == "half_open"


def test_a_probe_that_never_ends_does_not_keep_others_from_trying() -> None:
    breaker = fed("xxxxx")
    assert breaker.take_probe(10.0)
    assert not breaker.take_probe(10.0 + TERMS.patience - 1)
    assert breaker.take_probe(10.0 + TERMS.patience)
    breaker.drop_probe()
    assert breaker.take_probe(10.0 + TERMS.patience)


def test_a_working_one_is_probed_when_nothing_went_well_for_a_while() -> None:
    breaker = fed(".")
    assert not breaker.take_probe(14.9)
    breaker.record(True, 14.9)
    assert not breaker.take_probe(29.8)
    assert breaker.take_probe(29.9) and not breaker.take_probe(30.0)
    breaker.probed(True, 30.0)
    assert breaker.wait(30.0) == TERMS.quiet


class Calls(RuleBasedStateMachine):
    """Calls and probes in any order, against the rules written down plainly."""

    def __init__(self) -> None:
        super().__init__()
        self.at = 1000.0
        self.breaker = Breaker(self.at)
        self.seen: list[tuple[int, bool]] = []
        self.row = 0
        self.opened: float | None = None
        self.wait = 10.0
        self.probing = False

    @property
    def expected(self) -> str:
        if self.opened is None:
            return "closed"
        return "open" if self.at < self.opened + self.wait else "half_open"

    @rule(seconds=st.sampled_from([0.0, 0.25, 1.0, 4.0, 9.0, 31.0]))
    def time_passes(self, seconds: float) -> None:
        self.at += seconds

    @rule(results=st.lists(st.booleans() | st.just(True), min_size=1, max_size=12))
    def calls_end(self, results: list[bool]) -> None:
        for good in results:
            self.breaker.record(good, self.at)
            self.count(good)

    def count(self, good: bool) -> None:
        if self.opened is not None:
            return
        self.seen.append((int(self.at), good))
        self.row = 0 if good else self.row + 1
        recent = [one for second, one in self.seen if second > int(self.at) - 30]
        if self.row >= 5 or (len(recent) >= 20 and recent.count(False) / len(recent) > 0.05):
            self.opened, self.wait, self.seen = self.at, 10.0, []

    @precondition(lambda self: self.expected == "half_open")
    @rule(good=st.booleans())
    def a_probe_ends(self, good: bool) -> None:
        if not self.breaker.take_probe(self.at):
            return  # one of an earlier moment has not ended
        assert not self.breaker.take_probe(self.at)
        self.breaker.probed(good, self.at)
        if good:
            self.opened, self.row = None, 0
        else:
            self.opened, self.wait = self.at, min(2 * self.wait, 160.0)

    @invariant()
    def agrees(self) -> None:
        assert self.breaker.state(self.at) == self.expected


TestCalls = Calls.TestCase
TestCalls.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@given(st.text("x.", max_size=60))
def test_no_probe_is_wanted_of_one_that_just_opened(results: str) -> None:
    breaker = fed(results)
    assert not breaker.take_probe(0.0)
