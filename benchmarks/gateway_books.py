"""Whether the books stand whatever happens to them: part of `python -m benchmarks.gateway`.

`rows(operations)` does so many random operations on real wallets: holds and settlements in both ways, each
also again under its key and with other values, releases, refunds, top-ups, sweeps. Workers do them, processes
that share the wallets (`python -m benchmarks.gateway_books PARENT` is one: it takes the number of a batch and
its size from a line of its standard input, and tells how far it is). hypothesis chooses batches, and where in
one a worker is killed with SIGKILL, and looks at the books after each.
"""

import os
import random
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from benchmarks.rows import Row, at_most
from engine.kit import process
from engine.kit.settings import REPOSITORY

if TYPE_CHECKING:
    from engine.billing.schemas import HoldRequest, Settlement

SEED = 20_261_201
TENANTS = [f"ten_books{number}" for number in range(12)]
DEVELOPER = "ten_booksdeveloper"
WORKERS = 2
ROUND = 64  # operations that go together
BATCHES = (500, 4_000)  # operations of each worker
ANSWER_WITHIN = 300.0  # seconds


class Clerk:
    """One worker's random operations."""

    def __init__(self, number: int) -> None:
        self._chance = random.Random(number)
        self._open: list[tuple[str, int]] = []
        self._ended: list[str] = []
        self._before: list[Any] = []  # holds and settlements that may be sent again
        self._name = uuid4().hex  # a number may come twice, a key may not
        self._count = 0

    def work(self, operations: int) -> Iterator[int]:
        """Do about so many; yield how many are done by now."""
        done = 0
        steps = (self._holds, self._settlements, self._releases, self._refunds, self._top_ups)
        while done < operations:
            step = self._chance.choices(steps, weights=(8, 8, 2, 1, 1))[0]
            done += step()
            yield done

    def _key(self) -> str:
        self._count += 1
        return f"{self._name}-{self._count}"

    def _request(self) -> "HoldRequest":
        from engine.billing.schemas import HoldRequest
        from engine.kit.clock import now

        return HoldRequest(
            tenant_id=self._chance.choice(TENANTS),
            amount_micro=self._chance.choice([0, 1, self._chance.randrange(1, 2_000_000)]),
            key=self._key(),
            subject={"model": "books"},
            expires_at=now() + timedelta(seconds=self._chance.choice([-1, 600])),
        )

    def _holds(self) -> int:
        from engine.billing import holds
        from engine.billing.schemas import HoldView
        from engine.kit.database import swift, unit_of_work

        asked = [self._request() for _ in range(self._chance.randrange(1, ROUND))]
        again = [one for one in self._before if not hasattr(one, "hold_id")]
        asked += self._chance.sample(again, min(3, len(again)))
        made: list[Any] = [None] * len(asked)
        if self._chance.random() < 0.7:
            with swift() as connection:
                made = list(holds.hold_ordinary(connection, asked))
        rest = [one for one, hold in zip(asked, made, strict=True) if hold is None]
        with unit_of_work() as uow:
            made += holds.hold_many(uow, rest)
        self._open += [(one.id, one.amount_micro) for one in made if isinstance(one, HoldView)]
        self._before = [*self._before[-50:], *self._chance.sample(asked, 1)]
        return len(asked)

    def _settlement(self, hold_id: str, amount: int) -> "Settlement":
        from engine.billing.schemas import Settlement

        cost = self._chance.choice(
            [amount, max(1, amount // 3), amount + 5_000, self._chance.randrange(1, 99)]
        )
        return Settlement(
            hold_id=hold_id, amount_micro=cost, developer_tenant_id=DEVELOPER, usage={"model": "books"}
        )

    def _settlements(self) -> int:
        from engine.billing import holds
        from engine.kit.database import swift, unit_of_work

        asked = [self._settlement(*one) for one in self._taken(ROUND)]
        again = [one for one in self._before if hasattr(one, "hold_id")]
        asked += self._chance.sample(again, min(3, len(again)))
        if not asked:
            return 0
        made: list[Any] = [None] * len(asked)
        if self._chance.random() < 0.7:
            with swift() as connection, connection.pipeline(), connection.transaction():
                made = list(holds.settle_ordinary(connection, asked))
        rest = [one for one, receipt in zip(asked, made, strict=True) if receipt is None]
        with unit_of_work() as uow:
            made += holds.settle_many(uow, rest)
        self._note(made)
        self._before = [*self._before[-50:], *self._chance.sample(asked, 1)]
        return len(asked)

    def _taken(self, most: int) -> list[tuple[str, int]]:
        """Take some open holds; a few stay, so that they are ended twice."""
        self._chance.shuffle(self._open)
        taken, self._open = self._open[:most], self._open[max(0, most - 2) :]
        return taken

    def _note(self, made: list[Any]) -> None:
        from engine.billing.schemas import Receipt

        ended = [one.id for one in made if isinstance(one, Receipt) and one.charged_micro]
        self._ended = [*self._ended[-200:], *ended]

    def _releases(self) -> int:
        from engine.billing import holds
        from engine.kit.database import unit_of_work

        taken = dict(self._taken(self._chance.randrange(1, ROUND // 2)))
        with unit_of_work() as uow:
            holds.release_many(uow, dict.fromkeys(taken, "cancelled"))
        return len(taken)

    def _refunds(self) -> int:
        from engine.billing import refunds
        from engine.kit.database import unit_of_work
        from engine.kit.errors import EngineError

        some = self._chance.sample(self._ended, min(4, len(self._ended)))
        for receipt_id in some:
            amount = self._chance.choice([None, 1, self._chance.randrange(1, 100_000)])
            with suppress(EngineError), unit_of_work() as uow:
                refunds.refund(
                    uow,
                    receipt_id=receipt_id,
                    amount_micro=amount,
                    key=self._key(),
                    by_id="b",
                    reason="books",
                )
        return len(some)

    def _top_ups(self) -> int:
        from engine.billing import service as billing
        from engine.kit.database import unit_of_work

        key, tenant = self._key(), self._chance.choice(TENANTS)
        amount = self._chance.randrange(1, 40_000_000)
        for _ in range(2):
            with unit_of_work() as uow:
                billing.top_up(uow, tenant_id=tenant, amount_micro=amount, key=key, by="books")
        return 2


class Worker:
    """A worker's process, which is started again when it was killed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self, number: int, size: int) -> None:
        """Have it work."""
        if self._process is None:
            command = [sys.executable, "-m", "benchmarks.gateway_books", str(os.getpid())]
            self._process = subprocess.Popen(
                command, cwd=REPOSITORY, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        assert self._process.stdin is not None
        self._process.stdin.write(f"{number} {size}\n".encode())
        self._process.stdin.flush()

    def wait(self, until: int) -> int:
        """Return how many operations it has done, once that is so many."""
        assert self._process is not None and self._process.stdout is not None
        done = 0
        while done < until:
            if not select.select([self._process.stdout], [], [], ANSWER_WITHIN)[0]:
                raise RuntimeError("a worker does not answer")
            line = self._process.stdout.readline()
            if not line:
                raise RuntimeError("a worker has ended: see its last words above")
            done = int(line)
        return done

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.communicate()
            self._process = None


class Books(RuleBasedStateMachine):
    """What hypothesis does to the books."""

    left = 0
    done = 0
    kills = 0
    workers: list[Worker]

    @rule(
        number=st.integers(0, 2**32),
        size=st.integers(*BATCHES),
        dies_at=st.sampled_from([None, None, None, 0.2, 0.7]),
        sweeps=st.booleans(),
    )
    def work(self, number: int, size: int, dies_at: float | None, sweeps: bool) -> None:
        """Have all workers do a batch, one of which is perhaps killed in the middle of it, and then perhaps
        release what has expired.
        """
        if Books.left <= 0:
            return
        for place, worker in enumerate(Books.workers):
            worker.begin(number + place, size)
        done = 0
        if dies_at is not None:
            done += Books.workers[0].wait(round(size * dies_at))
            Books.workers[0].kill()
            Books.kills += 1
        done += sum(worker.wait(size) for worker in Books.workers[dies_at is not None :])
        Books.left, Books.done = Books.left - done, Books.done + done
        if sweeps:
            swept()

    @invariant()
    def stand(self) -> None:
        """The ledger sums to zero, and every wallet to its entries and its holds."""
        assert wrong() == (0, 0, 0)


def swept() -> None:
    """Release what has expired."""
    from engine.billing import service as billing
    from engine.kit.clock import now
    from engine.kit.database import unit_of_work

    with unit_of_work() as uow:
        billing.sweep(uow, now())


def wrong() -> tuple[int, int, int]:
    """Return the ledger's sum, how many wallets differ from their entries or holds, and how many are below
    zero.
    """
    from engine.billing import repository_checks
    from engine.billing import service as billing
    from engine.kit.database import snapshot

    with snapshot() as uow:
        wallets = repository_checks.wallets(uow, None)
        differing = sum(
            one.balance_micro != one.entries_micro or one.held_micro != one.holds_micro for one in wallets
        )
        below = sum(one.balance_micro < one.held_micro or one.held_micro < 0 for one in wallets)
        return billing.ledger_sum(uow), differing, below


def rows(operations: int) -> Iterator[Row]:
    """Do so many operations on the database of this process's settings."""
    Books.left, Books.done, Books.kills = operations, 0, 0
    Books.workers = [Worker() for _ in range(WORKERS)]
    rules = settings(
        max_examples=max(2, operations // 20_000),
        stateful_step_count=20,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    print(f"the books: hypothesis seed {SEED}", file=sys.stderr)
    failed = 0
    try:
        while Books.left > 0 and not failed:
            try:
                run_state_machine_as_test(seed(SEED + Books.done)(Books), settings=rules)
            except AssertionError as error:
                print(f"the books do not stand: {error}", file=sys.stderr)
                failed = 1
    finally:
        for worker in Books.workers:
            worker.kill()
    ledger, differing, below = wrong()
    title = f"{Books.done} random operations, hypothesis seed {SEED}, {Books.kills} kills"
    yield at_most(f"{title}: sum of the ledger", abs(ledger), 0, "micro-credits")
    yield at_most(f"{title}: wallets other than their entries and holds", differing, 0, "wallets")
    yield at_most(f"{title}: wallets below zero or their holds", below, 0, "wallets")
    yield at_most(f"{title}: times the books did not stand in between", failed, 0, "times")


def main() -> None:
    """Be a worker."""
    process.die_with_parent(int(sys.argv[1]))
    for line in sys.stdin:
        number, size = map(int, line.split())
        for done in Clerk(number).work(size):
            print(done, flush=True)


if __name__ == "__main__":
    main()
