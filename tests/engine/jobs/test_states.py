"""Any sequence of requests and accidents, compared with a small model of what should happen."""

from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import text

from engine.jobs import service
from engine.jobs.schemas import Claim, Fenced, JobView, StopJob
from engine.kit.database import unit_of_work
from engine.kit.errors import Conflict

ASKED = {
    "pause": {"queued": "paused", "running": "pausing"},
    "cancel": {
        "queued": "cancelled",
        "paused": "cancelled",
        "running": "cancelling",
        "pausing": "cancelling",
    },
    "resume": {"paused": "queued", "failed": "queued"},
}
HELD = ("running", "pausing", "cancelling")


class Jobs(RuleBasedStateMachine):
    """One job; `claims` are all tokens ever given out, the last of which may hold it."""

    @initialize()
    def submit(self) -> None:
        with unit_of_work() as uow:
            self.job = service.submit(
                uow, kind="count", person_id="per_1", tenant_id="ten_1", title="Count", params={}
            ).id
        self.state = "queued"
        self.claims: list[Claim] = []
        self.at: int | None = None
        self.accidents = 0

    def see(self) -> JobView:
        with unit_of_work() as uow:
            return service.get(uow, self.job, "ten_1")

    def write(self, claim: Claim, call: str, *values: Any) -> str:
        try:
            with unit_of_work() as uow:
                getattr(service, call)(uow, self.job, claim.token, *values)
        except Fenced:
            return "fenced"
        except StopJob:
            return "stopped"
        return "written"

    def let_go(self, *, counted: bool, retry: bool = True) -> None:
        self.accidents += int(counted and self.state == "running")
        lost = not retry or self.accidents >= service.MAX_SILENT_ENDS
        running = "failed" if lost else "queued"
        self.state = {"running": running, "pausing": "paused", "cancelling": "cancelled"}[self.state]

    @rule(verb=st.sampled_from(sorted(ASKED)))
    def ask(self, verb: str) -> None:
        expected = ASKED[verb].get(self.state)
        try:
            with unit_of_work() as uow:
                getattr(service, verb)(uow, self.job, "ten_1")
            assert expected is not None
        except Conflict:
            assert expected is None
        if verb == "resume" and expected:
            self.accidents = 0
        self.state = expected or self.state

    @rule()
    def deliver(self) -> None:
        with unit_of_work() as uow:
            uow.execute(text("delete from procrastinate_jobs"))
            claims = [service.claim(uow, self.job, machine="here") for _ in range(2)]
        assert claims[1] is None
        assert (claims[0] is not None) == (self.state == "queued")
        if claims[0] is not None:
            self.claims.append(claims[0])
            self.state = "running"

    @rule(at=st.integers(0, 99))
    def checkpoint(self, at: int) -> None:
        if self.claims:
            held = self.state in HELD
            values = {"checkpoint": {"at": at}, "silent_ends": 0}
            assert self.write(self.claims[-1], "write", values) == ("written" if held else "fenced")
            if held:
                self.at, self.accidents = at, 0

    @rule()
    def succeed(self) -> None:
        if self.claims:
            outcome = self.write(self.claims[-1], "succeed", {"ok": True})
            expected = {"running": "written", "pausing": "written", "cancelling": "stopped"}
            assert outcome == expected.get(self.state, "fenced")
            self.state = "succeeded" if outcome == "written" else self.state

    @rule()
    def fail(self) -> None:
        if self.claims:
            outcome = self.write(self.claims[-1], "fail", "jobs.unknown_kind", {"kind": "x"})
            expected = {"running": "written", "pausing": "written", "cancelling": "stopped"}
            assert outcome == expected.get(self.state, "fenced")
            self.state = "failed" if outcome == "written" else self.state

    @rule(code=st.sampled_from([-9, 0, 1, 75]), stopping=st.booleans())
    def process_ends(self, code: int, stopping: bool) -> None:
        if self.claims:
            with unit_of_work() as uow:
                service.ended(
                    uow,
                    self.job,
                    self.claims[-1].token,
                    code=code,
                    handed_back=code == 75,
                    stopping=stopping,
                )
            if self.state in HELD:
                self.let_go(counted=not stopping, retry=stopping or code in (-9, 75))

    @rule(times=st.integers(1, 4))
    def crash_loop(self, times: int) -> None:
        """Alone, single steps seldom line up into the row of accidents that fails a job."""
        for _ in range(times):
            self.deliver()
            self.process_ends(code=-9, stopping=False)
            self.agrees_with_the_model()

    @rule()
    def worker_vanishes(self) -> None:
        with unit_of_work() as uow:
            uow.execute(text("update jobs set heartbeat_at = now() - interval '1 minute'"))
        with unit_of_work() as uow:
            touched = service.rescue(uow, 20)
        assert touched == ([self.job] if self.state in HELD else [])
        if self.state in HELD:
            self.let_go(counted=True)

    @rule(call=st.sampled_from(["write", "succeed", "fail", "held", "wish"]))
    def stale_holder_writes(self, call: str) -> None:
        values: dict[str, tuple[Any, ...]] = {
            "write": ({"done": 99},),
            "succeed": ({},),
            "fail": ("jobs.crashed", {"job_id": "x"}),
        }
        for claim in self.claims[:-1]:
            assert self.write(claim, call, *values.get(call, ())) == "fenced"

    @invariant()
    def agrees_with_the_model(self) -> None:
        job = self.see()
        assert job.state == self.state
        assert job.checkpoint == (None if self.at is None else {"at": self.at})
        assert job.attempt == len(self.claims)
        assert (job.error is None) == (self.state != "failed")
        assert (job.finished_at is None) == (self.state not in ("succeeded", "failed", "cancelled"))
        assert (job.result is None) == (self.state != "succeeded")
        assert job.machine == ("here" if self.state in HELD else None)
        with unit_of_work() as uow:
            messages = uow.scalar(text("select count(*) from procrastinate_jobs where status = 'todo'"))
            attempts = uow.execute(text("select token, ended_at from job_attempts order by token")).all()
        assert messages or self.state != "queued"
        assert [attempt.token for attempt in attempts] == [claim.token for claim in self.claims]
        assert [attempt.ended_at is None for attempt in attempts] == [
            self.state in HELD and claim is self.claims[-1] for claim in self.claims
        ]

    def teardown(self) -> None:
        with unit_of_work() as uow:
            uow.execute(text("delete from jobs"))
            uow.execute(text("delete from procrastinate_jobs"))


def test_no_sequence_of_events_leaves_the_allowed_states(db: str) -> None:
    run_state_machine_as_test(
        Jobs,
        settings=settings(
            max_examples=30,
            stateful_step_count=30,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
