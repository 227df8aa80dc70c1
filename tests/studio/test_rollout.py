"""Versions in traffic on the page of an expert: what is offered when, what is shown, what is refused."""

from dataclasses import replace

import pytest

from engine.accounts.schemas import Person
from engine.flows import roll_out
from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, Conflict, NotFound
from engine.market import service as market
from engine.market.schemas import ExpertView
from engine.serving import rollouts
from engine.serving.rollout_schemas import ARMS, Arm, Counts, Outcome
from studio.handlers import publish, review
from studio.handlers import rollout as handlers
from studio.views import rollout as views
from tests.studio import test_publish

MARGINS = (20, 50, 50)


def version(dana: Person, rui: Person, number: int, *, to: str = "approved") -> ExpertView:
    with unit_of_work() as uow:
        made = market.register(
            uow,
            person_id=dana.id,
            tenant_id=dana.tenant_id,
            name="tent-helper",
            title="Tent helper",
            run_id=f"run_{number}",
            adapter_prefix=f"adapters/run_{number}",
            base_model="starter",
            knowledge_base_ids=[],
        )
    test_publish.tested(dana, made.id)
    publish.submit(dana, made.id, test_publish.LISTING)
    review.decide(rui, made.id, "approve", "")
    if to == "published":
        publish.step(dana, made.id, "publish")
    return publish.own(dana, made.id)


@pytest.fixture
def stable(dana: Person, rui: Person) -> ExpertView:
    return version(dana, rui, 1, to="published")


@pytest.fixture
def candidate(dana: Person, rui: Person, stable: ExpertView) -> ExpertView:
    return version(dana, rui, 2)


def shown(person: Person, expert: ExpertView, language: str = "en") -> handlers.Shown:
    return handlers.state(person, publish.own(person, expert.id), language)


def test_what_is_offered_follows_the_states(dana: Person, rui: Person, stable: ExpertView) -> None:
    assert shown(dana, stable).mode == "empty" and "Train the next one" in shown(dana, stable).head
    candidate = version(dana, rui, 2)
    assert f"expert={candidate.id}" in shown(dana, stable, "zh").head
    start = shown(dana, candidate)
    assert start.mode == "start" and "1.1.0" in start.head and start.failures is None
    handlers.start(dana, candidate, "canary", 25.0, *MARGINS)
    for one in (stable, candidate):
        running = shown(dana, one)
        assert (running.mode, running.share, running.back) == ("running", 25, "Roll back to 1.0.0")
        assert running.failures is None and "25% of the calls" in running.head
    assert shown(dana, version(dana, rui, 3)).mode == "hidden"
    handlers.end(dana, candidate, "promote", True)
    assert [shown(dana, one).mode for one in (stable, candidate)] == ["return", "return"]
    handlers.end(dana, candidate, "roll_back", True)
    assert publish.own(dana, stable.id).state == "published"
    assert "rolled back to 1.0.0" in shown(dana, candidate).head


def test_the_plots_show_both_versions_with_their_intervals(
    dana: Person, stable: ExpertView, candidate: ExpertView
) -> None:
    handlers.start(dana, candidate, "ab_test", 10, *MARGINS)
    rollout = roll_out.newest(dana, "tent-helper").rollout
    calls = [
        (stable.id, "stable", False),
        (candidate.id, "candidate", False),
        (candidate.id, "candidate", True),
    ]
    made = [
        Outcome(rollout_id=rollout.id, version_id=one, arm=arm, failed=failed, latency_ms=80, at=now())  # type: ignore[arg-type]
        for one, arm, failed in calls
    ]
    with unit_of_work() as uow:
        rollouts.record(uow, made)
    now_ = shown(dana, candidate, "zh")
    assert now_.failures is not None and now_.latency is not None
    assert [list(trace.x) for trace in now_.failures.data] == [[0.0], [50.0]]
    assert now_.failures.data[1].error_x.array[0] > 40
    assert "50.0%" in now_.head and "仅作比较" in now_.head


@pytest.mark.parametrize(
    ("values", "field"),
    [
        (("canary", 10.5, *MARGINS), "weight_percent"),
        (("canary", None, *MARGINS), "weight_percent"),
        (("", 10, *MARGINS), "strategy"),
        (("canary", 10, None, 50, 50), "error_points"),
        (("canary", 10, 20, 50, 1), "least_calls"),
    ],
)
def test_a_mistake_is_refused_at_its_field(
    dana: Person, candidate: ExpertView, values: tuple[object, ...], field: str
) -> None:
    with pytest.raises(BadInput) as caught:
        handlers.start(dana, candidate, *values)  # type: ignore[arg-type]
    assert caught.value.field == field
    assert shown(dana, candidate).mode == "start"


def test_an_end_wants_to_be_confirmed_and_happens_once(
    dana: Person, other: Person, candidate: ExpertView
) -> None:
    handlers.start(dana, candidate, "canary", 10, *MARGINS)
    with pytest.raises(BadInput) as caught:
        handlers.end(dana, candidate, "promote", False)
    assert caught.value.field == "confirmed"
    with pytest.raises(NotFound):
        handlers.end(other, candidate, "roll_back", True)
    handlers.change(dana, candidate, 40)
    assert shown(dana, candidate).share == 40
    handlers.end(dana, candidate, "roll_back", True)
    for again in (
        lambda: handlers.change(dana, candidate, 1),
        lambda: handlers.end(dana, candidate, "promote", True),
    ):
        with pytest.raises(Conflict):
            again()


@pytest.mark.parametrize(
    ("usual", "new", "failing", "slow"),
    [
        ((900, 1, 100), (900, 90, 150), "1.1.0 fails more", "50% slower"),
        ((900, 90, 100), (900, 1, 75), "1.1.0 fails less", "25% faster"),
        ((9, 1, 100), (9, 0, 100), "cannot be told", "as fast"),
    ],
)
def test_the_titles_say_what_the_plots_show(
    dana: Person,
    candidate: ExpertView,
    usual: tuple[int, int, int],
    new: tuple[int, int, int],
    failing: str,
    slow: str,
) -> None:
    handlers.start(dana, candidate, "canary", 10, *MARGINS)
    counts: dict[Arm, Counts] = {
        arm: Counts(calls=one[0], failed=one[1], p50_ms=9, p95_ms=one[2])
        for arm, one in zip(ARMS, (usual, new), strict=True)
    }
    found = replace(roll_out.newest(dana, "tent-helper"), counts=counts)
    for figure, words in ((views.failures(found, "en"), failing), (views.latency(found, "en"), slow)):
        assert figure is not None and words in figure.layout.title.text
