"""Whoever tries whatever, an expert reaches the market only by a passed test and someone else's approval."""

import os

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, Conflict, Forbidden, NotFound
from engine.market import service
from engine.market.schemas import SYSTEM, Actor
from engine.market.states import STATES

OWNER = Actor("per_owner", "ten_a", frozenset({"developer", "reviewer", "operator"}))
REVIEWER = Actor("per_reviewer", "ten_p", frozenset({"reviewer", "developer"}))
PEOPLE = [
    OWNER,
    REVIEWER,
    SYSTEM,
    Actor("per_colleague", "ten_a", frozenset({"developer", "consumer"})),
    Actor("per_other", "ten_b", frozenset({"developer"})),
    Actor("per_operator", "ten_p", frozenset({"operator", "checker", "stakeholder"})),
]
VERSIONS = st.integers(0, 1)
TRYING = st.one_of(st.just(OWNER), st.sampled_from(PEOPLE))
ONWARD = {
    "trained": (OWNER, "testing"),
    "testing": (SYSTEM, "tested"),
    "rejected": (OWNER, "testing"),
    "tested": (OWNER, "pending_review"),
    "pending_review": (REVIEWER, "approved"),
    "approved": (OWNER, "published"),
    "published": (REVIEWER, "suspended"),
    "suspended": (REVIEWER, "published"),
    "retired": (OWNER, "tested"),
}


class Road(RuleBasedStateMachine):
    """Two versions of one name, pushed around by people of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[list[tuple[str | None, str, str]]] = [[], []]
        self.state = ["trained", "trained"]
        self.experts: list[str] = []
        self.touched = {0, 1}

    @initialize()
    def register(self) -> None:
        name = f"road-{os.urandom(6).hex()}"
        for number in range(2):
            with unit_of_work() as uow:
                expert = service.register(
                    uow,
                    person_id=OWNER.id,
                    tenant_id=OWNER.tenant_id,
                    name=name,
                    title="Tent helper",
                    run_id="run_1",
                    adapter_prefix="adapters/run_1",
                    base_model="starter",
                    knowledge_base_ids=[],
                )
                service.describe(
                    uow,
                    expert.id,
                    title="Tent helper",
                    description="Answers questions about tents.",
                    category="other",
                    tags=[],
                    input_price="0.1",
                    output_price="0.1",
                    example="Which tent is light?",
                    tenant_id=OWNER.tenant_id,
                )
            self.experts.append(expert.id)
            self.steps[number].append((None, "trained", OWNER.id))

    def took(self, which: int, to: str, by: str) -> None:
        self.steps[which].append((self.state[which], to, by))
        self.state[which] = to

    def try_move(self, which: int, by: Actor, to: str) -> None:
        other = 1 - which
        self.touched.add(which)
        try:
            with unit_of_work() as uow:
                service.change_state(uow, self.experts[which], to, by=by, reason="because")
        except (Conflict, Forbidden, NotFound, BadInput):
            return
        if to == "published" and self.state[other] == "published":
            self.took(other, "retired", by.id)
            self.touched.add(other)
        self.took(which, to, by.id)

    @rule(which=VERSIONS, by=TRYING, to=st.sampled_from(STATES))
    def anyone_tries_anything(self, which: int, by: Actor, to: str) -> None:
        self.try_move(which, by, to)

    @rule(which=VERSIONS, by=TRYING)
    def anyone_tries_the_next_step(self, which: int, by: Actor) -> None:
        self.try_move(which, by, ONWARD[self.state[which]][1])

    @rule(which=VERSIONS, steps=st.integers(1, 5))
    def those_whose_turn_it_is_act(self, which: int, steps: int) -> None:
        for _ in range(steps):
            if self.state[which] == "testing":
                self.end_test(which, SYSTEM, True)
            else:
                self.try_move(which, *ONWARD[self.state[which]])

    @rule(which=VERSIONS, by=st.sampled_from(PEOPLE), passed=st.booleans())
    def a_test_ends(self, which: int, by: Actor, passed: bool) -> None:
        self.end_test(which, by, passed)

    def end_test(self, which: int, by: Actor, passed: bool) -> None:
        self.touched.add(which)
        try:
            with unit_of_work() as uow:
                service.record_quality(uow, self.experts[which], {}, passed, by)
        except (Conflict, Forbidden):
            return
        self.took(which, "tested" if passed else "rejected", by.id)

    @invariant()
    def the_market_is_safe(self) -> None:
        for which in sorted(self.touched):
            expert_id = self.experts[which]
            with unit_of_work() as uow:
                expert = service.get(uow, expert_id, SYSTEM)
                history = service.history(uow, expert_id, SYSTEM)
            steps = [(step.from_state, step.to_state, step.by_id) for step in history]
            assert steps == self.steps[which]
            assert expert.state == steps[-1][1]
            if expert.state == "published":
                approvals = [n for n, step in enumerate(steps) if step[1] == "approved"]
                assert approvals and all(steps[n][2] == REVIEWER.id for n in approvals)
                assert ("testing", "tested", SYSTEM.id) in steps[: approvals[-1]]
                assert expert.quality and expert.quality["passed"]
        self.touched.clear()
        assert self.state.count("published") <= 1


def test_no_way_around_test_and_review(db: str) -> None:
    reached: set[str] = set()

    class Watched(Road):
        def teardown(self) -> None:
            reached.update(to for steps in self.steps for _, to, _ in steps)

    run_state_machine_as_test(
        Watched,
        settings=settings(
            max_examples=20,
            stateful_step_count=40,
            deadline=None,
            database=None,
            phases=[Phase.generate],  # a failing run is short enough to read; shrinking it takes minutes
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert reached >= {"approved", "published"}, "the runs went too short a way"
