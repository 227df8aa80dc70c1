"""Who answers while two versions share the calls, what is a verdict, and what a rollout may become."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, Conflict, Forbidden
from engine.serving import rollouts
from engine.serving.rollout_schemas import RANGES, Counts, Margins, Outcome, Rollout, Why

WHY = Why(key="rollouts.why_owner")
WEIGHTS = st.integers(0, 100)


def rollout(weight: int, rollout_id: str = "rol_1") -> Rollout:
    return Rollout(
        id=rollout_id,
        name="help-desk",
        tenant_id="ten_1",
        stable_id="exp_1",
        candidate_id="exp_2",
        strategy="canary",
        weight_percent=weight,
        margins=Margins(),
        state="running",
        reason=None,
        started_at=now(),
        ended_at=None,
        by_id="per_1",
    )


@given(WEIGHTS, st.text())
def test_a_conversation_keeps_its_version(weight: int, key: str) -> None:
    one = rollout(weight)
    arm = rollouts.arm_of(one, None, key)
    assert arm == rollouts.arm_of(one, "ab_test", key) == rollouts.arm_of(one, None, key)
    assert rollouts.arm_of(rollout(0), None, key) == "stable"
    assert rollouts.arm_of(rollout(100), None, key) == "candidate"


@given(WEIGHTS, WEIGHTS, st.text())
def test_a_changed_weight_moves_only_whom_it_has_to(one: int, other: int, key: str) -> None:
    low, high = sorted((one, other))
    if rollouts.arm_of(rollout(low), None, key) == "candidate":
        assert rollouts.arm_of(rollout(high), None, key) == "candidate"


@given(WEIGHTS, st.text(min_size=1, max_size=20))
def test_shares_are_those_that_were_asked_for(weight: int, rollout_id: str) -> None:
    calls, one = 2_000, rollout(weight, rollout_id)
    found = sum(rollouts.arm_of(one, None, f"talk {n}") == "candidate" for n in range(calls))
    p = weight / 100
    assert abs(found - calls * p) <= 6 * math.sqrt(calls * p * (1 - p)) + 1e-9


@given(st.one_of(st.none(), WEIGHTS), st.text())
def test_a_header_says_who_answers_or_is_refused_by_name(weight: int | None, key: str) -> None:
    one = None if weight is None else rollout(weight)
    assert rollouts.arm_of(one, "stable", key) == "stable"
    assert rollouts.arm_of(one, "canary", key) == ("stable" if one is None else "candidate")
    for bad in ("", "Canary", "beta", "x" * 500):
        with pytest.raises(BadInput) as caught:
            rollouts.arm_of(one, bad, key)
        assert caught.value.field == "x-routing-strategy"


@pytest.mark.parametrize("bad", ["", "a\nb", "x" * 201, "\x00"])
def test_a_conversation_that_cannot_be_one_is_refused_by_name(bad: str) -> None:
    with pytest.raises(BadInput) as caught:
        rollouts.check_conversation(bad)
    assert caught.value.field == "X-Conversation-ID"


@pytest.mark.parametrize("name", RANGES)
def test_margins_out_of_range_are_refused_by_name(name: str) -> None:
    least, most = RANGES[name]
    for value in (least - 1, most + 1, True, 1.5):
        with pytest.raises(BadInput) as caught:
            Margins(**{name: value})
        assert caught.value.field == f"margins.{name}"
    assert Margins(**{name: least}) and Margins(**{name: most})


def key(stable: Counts, candidate: Counts, **margins: int) -> str | None:
    why = rollouts.verdict(stable, candidate, Margins(**margins))
    if why is not None:
        assert why.message("en") != why.message("zh")
    return why.key if why else None


def test_a_verdict_needs_enough_calls_and_a_difference_beyond_the_margin() -> None:
    good = Counts(calls=1_000, failed=10, p50_ms=50, p95_ms=100)
    assert key(good, Counts()) is None
    assert key(good, Counts(calls=9, failed=9)) is None
    assert key(good, Counts(calls=10, failed=5)) is None
    assert key(good, Counts(calls=10, failed=6)) == "rollouts.why_broken"
    assert key(good, Counts(calls=49, failed=20)) is None
    assert key(good, Counts(calls=100, failed=3, p95_ms=150)) is None  # right at both margins
    assert key(good, Counts(calls=100, failed=4)) == "rollouts.why_fails"
    assert key(good, Counts(calls=100, failed=3, p95_ms=151)) == "rollouts.why_slow"
    assert key(good, Counts(calls=100, failed=3, p95_ms=151), slower_percent=60) is None
    assert key(good, Counts(calls=100, failed=4), error_points=30) is None
    assert key(Counts(), Counts(calls=50, failed=2)) == "rollouts.why_fails"
    assert key(Counts(calls=49, p95_ms=1), Counts(calls=50, p95_ms=1_000)) is None


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 500), st.integers(0, 500))
def test_one_more_failure_never_saves_a_candidate(calls: int, failed: int, other: int, theirs: int) -> None:
    stable = Counts(calls=other, failed=min(theirs, other))
    one = Counts(calls=calls, failed=min(failed, calls))
    worse = Counts(calls=calls, failed=min(one.failed + 1, calls))
    if key(stable, one):
        assert key(stable, worse)


@given(st.integers(0, 2_000), st.integers(0, 2_000))
def test_an_interval_holds_its_share(calls: int, failed: int) -> None:
    count = Counts(calls=calls, failed=min(calls, failed))
    low, high = rollouts.interval(count)
    assert 0 <= low <= rollouts.share(count) + 1e-9 and rollouts.share(count) <= high + 1e-9 <= 1 + 1e-8


def test_wilsons_interval_as_it_is_in_the_books() -> None:
    low, high = rollouts.interval(Counts(calls=10, failed=0))
    assert (round(low, 4), round(high, 4)) == (0, 0.2775)
    low, high = rollouts.interval(Counts(calls=100, failed=10))
    assert (round(low, 4), round(high, 4)) == (0.0552, 0.1744)


def begin(name: str = "help-desk", **changes: object) -> Rollout:
    facts: dict[str, object] = {
        "name": name,
        "tenant_id": "ten_1",
        "stable_id": "exp_1",
        "candidate_id": "exp_2",
        "strategy": "canary",
        "weight_percent": 10,
        "margins": Margins(),
        "by_id": "per_1",
    }
    with unit_of_work() as uow:
        return rollouts.start(uow, **{**facts, **changes})  # type: ignore[arg-type]


def test_one_rollout_of_a_name_runs_and_another_may_follow(db: str) -> None:
    first = begin()
    begin("shop-helper")
    with pytest.raises(Conflict):
        begin()
    with unit_of_work() as uow:
        rollouts.move(uow, first.id, "rolled_back", part=rollouts.SYSTEM, why=WHY)
    second = begin()
    with unit_of_work() as uow:
        assert rollouts.latest(uow, "help-desk", "ten_1") == second
        assert rollouts.latest(uow, "help-desk", "ten_2") is None
        assert set(rollouts.running(uow, ["help-desk", "shop-helper"])) == {"help-desk", "shop-helper"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"strategy": "beta"}, "strategy"),
        ({"weight_percent": 101}, "weight_percent"),
        ({"weight_percent": -1}, "weight_percent"),
    ],
)
def test_a_rollout_that_cannot_be_is_refused_by_name(db: str, change: dict[str, object], field: str) -> None:
    with pytest.raises(BadInput) as caught:
        begin(**change)
    assert caught.value.field == field


def test_states_move_as_the_table_says_and_not_otherwise(db: str) -> None:
    for start in ("running", "promoted", "rolled_back", "ended"):
        for to in ("promoted", "rolled_back", "ended"):
            for part in (rollouts.OWNER, rollouts.SYSTEM):
                one = begin(f"{start}-{to}-{part}")
                with unit_of_work() as uow:
                    row = rollouts.repository.locked(uow, one.id)
                    row.state = start
                allowed = rollouts.MOVES.get((start, to), frozenset())
                with unit_of_work() as uow:
                    if part in allowed:
                        moved = rollouts.move(uow, one.id, to, part=part, why=WHY)  # type: ignore[arg-type]
                        assert moved.state == to and moved.reason == WHY and moved.ended_at
                    else:
                        with pytest.raises(Forbidden if allowed else Conflict):
                            rollouts.move(uow, one.id, to, part=part, why=WHY)  # type: ignore[arg-type]


def test_a_share_changes_while_it_runs_and_not_after(db: str) -> None:
    one = begin()
    with unit_of_work() as uow:
        changed = rollouts.change(uow, one.id, weight_percent=50, margins=Margins(least_calls=10))
    assert (changed.weight_percent, changed.margins.least_calls) == (50, 10)
    with unit_of_work() as uow:
        rollouts.move(uow, one.id, "ended", part=rollouts.SYSTEM, why=WHY)
    with pytest.raises(Conflict), unit_of_work() as uow:
        rollouts.change(uow, one.id, weight_percent=1, margins=None)


def test_outcomes_are_counted_by_arm_and_forgotten_after_their_time(db: str) -> None:
    one = begin()

    def made(arm: str, failed: bool, ms: int) -> Outcome:
        return Outcome(
            rollout_id=one.id, version_id="exp", arm=arm, failed=failed, latency_ms=ms, at=now()  # type: ignore[arg-type]
        )  # fmt: skip

    with unit_of_work() as uow:
        rollouts.record(uow, [made("stable", False, ms) for ms in range(1, 101)])
        rollouts.record(uow, [made("candidate", True, 9), made("candidate", False, 7)])
    with unit_of_work() as uow:
        counts = rollouts.counts(uow, one.id)
        assert counts["stable"] == Counts(calls=100, failed=0, p50_ms=50, p95_ms=95)
        assert counts["candidate"] == Counts(calls=2, failed=1, p50_ms=7, p95_ms=7)
        assert rollouts.sweep(uow, now() + 2 * rollouts.KEPT) == 0  # it runs
        ended = rollouts.move(uow, one.id, "rolled_back", part=rollouts.OWNER, why=WHY)
        assert ended.ended_at is not None
        assert rollouts.sweep(uow, now()) == 0
        assert rollouts.sweep(uow, ended.ended_at + rollouts.KEPT) == 102
        assert rollouts.counts(uow, one.id)["stable"] == Counts()
