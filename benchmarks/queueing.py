"""Jobs of many people on a simulated pool; part of `python -m benchmarks.training`.

Twenty people of the four plans submit jobs at random, machines with simulated devices ask for work at random,
and jobs end in every way there is, the silence of their machine among them. Database, rules and decisions are
the product's. After each decision, what was chosen is compared with what the formula of the first design and
the plans say, worked out here from the table of jobs alone.
"""

import random
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from benchmarks.rows import Row

SUBMISSIONS, QUICK_SUBMISSIONS = 1_000, 100
PEOPLE = 20
SEED = 20_261_122
GB = 2**30
LONG = 3_600.0  # seconds of silence after which a machine counts as gone: longer than this takes
CARDS = {"m1": (24, 24), "m2": (80,), "m3": ()}
LOOK = 0.05  # seconds that our own look at the table takes at most
LANES = (("high", "normal", "low"), ("training",))
BASE = {"high": 100, "normal": 50, "low": 0, "training": 50}
BONUS = {"free": 0, "basic": 20, "pro": 50, "enterprise": 100}
AT_ONCE = {
    "free": {"indexing": 1, "training": 0},
    "basic": {"indexing": 2, "training": 1},
    "pro": {"indexing": 5, "training": 3},
    "enterprise": {"indexing": 20, "training": 10},
}
WAYS = ("done", "done", "done", "failed", "killed", "cancelled", "silent")


class Pool:
    """The simulated house; `wrong` counts what must never be."""

    def __init__(self) -> None:
        from engine.accounts import service as accounts
        from engine.jobs import machines
        from engine.jobs.schemas import FoundDevice
        from engine.kit.database import unit_of_work

        self.chance = random.Random(SEED)
        self.wrong: Counter[str] = Counter()
        self.decisions: list[float] = []
        self.claims: dict[str, Any] = {}
        self.plans: dict[str, str] = {}
        with unit_of_work() as uow:
            for number in range(PEOPLE):
                plan = list(BONUS)[number % 4]
                person = accounts.create_person(
                    uow,
                    email=f"p{number}@example.com",
                    name=f"P{number}",
                    password="correct horse",
                    roles=["developer"],
                    plan=plan,
                )
                self.plans[person.tenant_id] = plan
            for machine, cards in CARDS.items():
                found = [FoundDevice(number=n, name="Card", memory=gb * GB) for n, gb in enumerate(cards)]
                machines.register(uow, machine, 4, found)

    def submit(self) -> None:
        """Submit a job that has, by its row, waited for up to ninety minutes."""
        from sqlalchemy import text

        from engine.jobs import service
        from engine.kit.database import unit_of_work

        trains = self.chance.random() < 0.4
        # The free plan's trainings are refused before they are jobs.
        able = [tenant for tenant, plan in self.plans.items() if not trains or plan != "free"]
        tenant = self.chance.choice(able)
        with unit_of_work() as uow:
            job = service.submit(
                uow,
                kind="simulated",
                person_id="p",
                tenant_id=tenant,
                title="Simulated",
                params={},
                queue="training" if trains else self.chance.choice(LANES[0]),
                resource="training" if trains else "indexing",
                memory=self.chance.choice((0, 4, 16, 24, 48, 80)) * GB if trains else 0,
            )
            if self.chance.random() < 0.05:
                service.hurry(uow, job.id)
            minutes = self.chance.uniform(0, 90)
            age = "update jobs set queued_at = now() - make_interval(secs => :s) where id = :id"
            uow.execute(text(age), {"s": 60 * minutes, "id": job.id})

    def ask(self) -> bool:
        """Let a machine ask for work in a lane; returns whether it got some."""
        from engine.flows.schedule_jobs import next_job

        machine, lane = self.chance.choice(sorted(CARDS)), self.chance.choice(LANES)
        self._live()
        waiting, running = self._rows()
        started = time.perf_counter()
        claim = next_job(lane, machine)
        self.decisions.append(1000 * (time.perf_counter() - started))
        # A minute of somebody's waiting may have become full between our look and the decision.
        moments = (0.0, time.perf_counter() - started + LOOK)
        orders = [self._expected(waiting, running, lane, machine, later) for later in moments]
        if claim is None:
            self.wrong["left idle"] += any(orders)
            return False
        self.claims[claim.job.id] = claim
        # Two jobs may be equal to the minute; then the one that came first has to go first.
        self.wrong["order"] += all(not order or claim.job.id != order[0] for order in orders)
        self._check_limits()
        return True

    def _live(self) -> None:
        """Let all machines give their signs of life."""
        from engine.jobs import machines
        from engine.kit.database import unit_of_work

        with unit_of_work() as uow:
            for name in CARDS:
                machines.alive(uow, name, 4)

    def end(self) -> None:
        """End a running job in one of the ways."""
        from sqlalchemy import text

        from engine.jobs import service
        from engine.kit.database import unit_of_work

        if not self.claims:
            return
        claim = self.claims.pop(self.chance.choice(sorted(self.claims)))
        way, job = self.chance.choice(WAYS), claim.job
        with unit_of_work() as uow:
            if way == "done":
                service.succeed(uow, job.id, claim.token, {})
            elif way == "failed":
                service.fail(uow, job.id, claim.token, "jobs.crashed", {"job_id": job.id})
            elif way == "silent":
                silent = "update jobs set heartbeat_at = now() - make_interval(secs => :s) where id = :id"
                uow.execute(text(silent), {"s": 2 * LONG, "id": job.id})
                service.rescue(uow, LONG)
            else:
                if way == "cancelled":
                    service.cancel(uow, job.id, job.tenant_id)
                service.ended(uow, job.id, claim.token, code=-9, handed_back=False, stopping=False)

    def left(self) -> int:
        """Return how many jobs wait or run."""
        waiting, running = self._rows()
        return len(waiting) + len(running)

    def kept_devices(self) -> int:
        """Return how many jobs that do not run still have a device, or an attempt that is not closed."""
        from sqlalchemy import text

        from engine.kit.database import unit_of_work

        query = (
            "select count(*) from jobs j where state not in ('running', 'pausing', 'cancelling') and "
            "(device_id is not null or exists (select from job_attempts a where a.job_id = j.id "
            "and a.ended_at is null))"
        )
        with unit_of_work() as uow:
            return int(uow.scalar(text(query)) or 0)

    def _rows(self) -> tuple[list[Any], list[Any]]:
        from sqlalchemy import text

        from engine.kit.database import unit_of_work

        with unit_of_work() as uow:
            rows = uow.execute(text("select *, now() as at from jobs")).all()
        held = ("running", "pausing", "cancelling")
        return [row for row in rows if row.state == "queued"], [row for row in rows if row.state in held]

    def _expected(
        self, waiting: list[Any], running: list[Any], lane: tuple[str, ...], machine: str, later: float
    ) -> list[str]:
        """Return the jobs that this machine may start now, or a moment `later` (seconds), in order."""
        free = {f"{name}/{n}": gb * GB for name, cards in CARDS.items() for n, gb in enumerate(cards)}
        whole = dict(free)
        for row in running:
            if row.device_id:
                free[row.device_id] -= row.memory
        busy = Counter((row.tenant_id, row.resource) for row in running)
        found = []
        for row in sorted(waiting, key=lambda row: (-self._points(row, later), row.queued_at, row.id)):
            if busy[row.tenant_id, row.resource] >= AT_ONCE[self.plans[row.tenant_id]][row.resource]:
                continue
            fits = [name for name, left in free.items() if left >= row.memory]
            if row.memory and not fits:
                free = {name: left for name, left in free.items() if whole[name] < row.memory}
                continue
            here = not row.memory or any(name.startswith(f"{machine}/") for name in fits)
            if here and row.queue in lane:
                found.append(row.id)
        return found

    def _points(self, row: Any, later: float) -> int:
        minutes = int(((row.at - row.queued_at).total_seconds() + later) // 60)
        return BASE[row.queue] + BONUS[self.plans[row.tenant_id]] + min(minutes, 50) + 200 * row.urgent

    def _check_limits(self) -> None:
        _, running = self._rows()
        for (tenant, resource), count in Counter((row.tenant_id, row.resource) for row in running).items():
            self.wrong["quota"] += count > AT_ONCE[self.plans[tenant]][resource]
        given: Counter[str] = Counter()
        for row in running:
            if row.device_id:
                given[row.device_id] += row.memory
        for name, memory in given.items():
            machine, number = name.split("/")
            self.wrong["device"] += memory > CARDS[machine][int(number)] * GB


def rows(quick: bool) -> Iterator[Row]:
    """Submit, ask and end at random, then let the pool run empty."""
    pool, wanted = Pool(), QUICK_SUBMISSIONS if quick else SUBMISSIONS
    submitted = 0
    while submitted < wanted:
        step = pool.chance.random()
        if step < 0.4:
            pool.submit()
            submitted += 1
        elif step < 0.75:
            pool.ask()
        else:
            pool.end()
    for _ in range(50 * wanted):
        if not pool.left():
            break
        if not pool.ask():
            pool.end()
    name = f"{wanted} submissions by {PEOPLE} people of four plans"
    for what in ("quota", "device", "order", "left idle"):
        told = {
            "quota": "limits of a plan exceeded",
            "device": "devices given more than they have",
            "order": "starts out of the formula's order",
            "left idle": "askers sent away though a job could start",
        }[what]
        count = pool.wrong[what]
        yield Row(name=f"{name}: {told}", value=count, unit="times", goal="0", ok=not count)
    starved, kept = pool.left(), pool.kept_devices()
    yield Row(name=f"{name}: never started", value=starved, unit="jobs", goal="0", ok=not starved)
    yield Row(name=f"{name}: devices kept by ended jobs", value=kept, unit="jobs", goal="0", ok=not kept)
    yield Row(
        name=f"{name}: one decision, median",
        value=round(statistics.median(pool.decisions), 1),
        unit="ms",
    )
