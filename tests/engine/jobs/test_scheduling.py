from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis.strategies as st
from hypothesis import given

from engine.jobs.scheduling import LANES, QUEUES, Candidate, Device, Terms, line, score

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
GB = 2**30
BONUSES = {"free": 0, "basic": 20, "pro": 50, "enterprise": 100}


def job(job_id: str, minutes: float = 0, **changes: Any) -> Candidate:
    values: dict[str, Any] = {"tenant_id": "t1", "queue": "normal", "resource": "indexing"}
    return Candidate(job_id=job_id, since=NOW - timedelta(minutes=minutes), **(values | changes))


def places(*waiting: Candidate, running: list[Candidate] | None = None, **given: Any) -> dict[str, Any]:
    terms = given.pop("terms", {})
    tenants = {each.tenant_id: terms.get(each.tenant_id, Terms()) for each in waiting}
    found = line(waiting, running or [], tenants, given.pop("devices", []), NOW)
    return {place.job_id: place for place in found}


def test_the_score_is_that_of_the_design() -> None:
    pro = Terms(bonus=50)
    assert score(job("a"), pro, NOW) == 50 + 50
    assert score(job("a", 12.9), pro, NOW) == 50 + 50 + 12
    assert score(job("a", 500), pro, NOW) == 50 + 50 + 50
    assert score(job("a", 500, urgent=True, queue="low"), Terms(), NOW) == 0 + 50 + 200
    assert score(job("a", -5), Terms(), NOW) == 50


def test_waiting_outweighs_the_queue_in_the_end_and_equals_go_by_arrival() -> None:
    found = places(
        job("new"), job("old-low", 51, queue="low"), job("fresh-low", 1, queue="low"), job("older", 0.5)
    )
    assert list(found) == ["old-low", "older", "new", "fresh-low"]


def test_each_lane_has_its_own_numbers() -> None:
    found = places(job("a"), job("b", queue="training", resource="training"), job("c", queue="low"))
    assert {name: place.number for name, place in found.items()} == {"a": 1, "b": 1, "c": 2}


def test_a_full_plan_keeps_its_own_tenant_back_and_nobody_else() -> None:
    terms = {"t1": Terms(concurrent={"indexing": 1}, bonus=100), "t2": Terms(concurrent={"indexing": 1})}
    found = places(job("mine"), job("theirs", tenant_id="t2"), running=[job("runs")], terms=terms)
    assert (found["mine"].reason, found["theirs"].reason) == ("concurrent", "turn")
    found = places(job("none", resource="training"), terms={"t1": Terms(concurrent={"training": 0})})
    assert found["none"].reason == "plan"


def test_used_up_hours_keep_a_job_waiting() -> None:
    terms = {"t1": Terms(cpu_left=0, gpu_left=5)}
    card = Device(id="m/0", machine="m", memory=8 * GB)
    found = places(job("cpu"), job("gpu", memory=GB), terms=terms, devices=[card])
    assert (found["cpu"].reason, found["gpu"].reason) == ("hours", "turn")


def test_the_first_device_that_fits_is_given() -> None:
    small, large = (Device(id=f"m/{n}", machine="m", memory=gb * GB) for n, gb in ((0, 8), (1, 24)))
    running = [job("r", memory=6 * GB, device_id="m/0")]
    found = places(job("a", memory=2 * GB), job("b", memory=3 * GB), running=running, devices=[small, large])
    assert (found["a"].device_id, found["b"].device_id) == ("m/0", "m/1")


def test_who_waits_for_a_device_is_not_overtaken_on_it_but_elsewhere() -> None:
    small, large = (Device(id=f"m/{n}", machine="m", memory=gb * GB) for n, gb in ((0, 8), (1, 24)))
    running = [job("r", memory=10 * GB, device_id="m/1")]
    waiting = [
        job("big", 5, memory=20 * GB),
        job("fits-large", 3, memory=9 * GB),
        job("fits-small", memory=8 * GB),
    ]
    found = places(*waiting, job("no-device"), running=running, devices=[small, large])
    assert [found[name].reason for name in ("big", "fits-large", "fits-small", "no-device")] == [
        "device",
        "device",
        "turn",
        "turn",
    ]


def test_a_job_too_large_for_any_device_keeps_nobody_back() -> None:
    card = Device(id="m/0", machine="m", memory=8 * GB)
    found = places(job("huge", 9, memory=80 * GB), job("fits", memory=8 * GB), devices=[card])
    assert (found["huge"].reason, found["fits"].reason) == ("device", "turn")


WAITING = st.builds(
    lambda n, minutes, tenant, queue, urgent, memory: job(
        f"j{n}",
        minutes,
        tenant_id=tenant,
        queue=queue,
        resource="training" if queue == "training" else "indexing",
        urgent=urgent,
        memory=memory * GB if queue == "training" else 0,
    ),
    st.integers(0, 10**6),
    st.floats(0, 200),
    st.sampled_from(sorted(BONUSES)),
    st.sampled_from(sorted(QUEUES)),
    st.booleans(),
    st.integers(0, 30),
)


@given(
    st.lists(WAITING, unique_by=lambda each: each.job_id, max_size=25),
    st.lists(st.integers(1, 24), max_size=3),
)
def test_the_line_is_sorted_and_no_promise_breaks_a_limit(waiting: list[Candidate], cards: list[int]) -> None:
    terms = {
        name: Terms(bonus=bonus, concurrent={"indexing": 2, "training": 1 if bonus else 0})
        for name, bonus in BONUSES.items()
    }
    devices = [Device(id=f"m/{n}", machine="m", memory=gb * GB) for n, gb in enumerate(cards)]
    running: list[Candidate] = []
    by_id = {each.job_id: each for each in waiting}
    left = list(waiting)
    while True:
        found = line(left, running, terms, devices, NOW)
        assert [place.score for place in found] == sorted((place.score for place in found), reverse=True)
        for lane in LANES:
            numbers = [place.number for place in found if by_id[place.job_id].queue in lane]
            assert numbers == list(range(1, len(numbers) + 1))
        chosen = next((place for place in found if place.reason == "turn"), None)
        if chosen is None:
            break
        one = by_id[chosen.job_id]
        left.remove(one)
        running.append(replace(one, device_id=chosen.device_id))
        for device in devices:
            assert sum(each.memory for each in running if each.device_id == device.id) <= device.memory
        for tenant, granted in terms.items():
            for resource, most in granted.concurrent.items():
                held = [each for each in running if (each.tenant_id, each.resource) == (tenant, resource)]
                assert len(held) <= most
    assert all(place.reason in ("plan", "concurrent", "device") for place in found)
