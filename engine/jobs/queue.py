"""procrastinate, the queue that carries jobs to workers. The only file that knows it."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from procrastinate import App, JobContext, PsycopgConnector, SyncPsycopgConnector
from sqlalchemy import text
from sqlalchemy.orm import Session

from engine.jobs.scheduling import LANES

TASK = "jobs.run"

# Never opened: it only ever works on the connection of the caller's transaction.
_app = App(connector=SyncPsycopgConnector())


def _driver(uow: Session) -> Any:
    """The psycopg connection beneath the session: what runs on it commits with the unit of work."""
    return uow.connection().connection.driver_connection


def wake(uow: Session, *, job_id: str, queue: str) -> None:
    """Have a worker look for work in a queue, once the caller's transaction is committed.

    The message says whose wish it is, for the logs. Which job is done for it is chosen when it arrives.
    """
    _app.configure_task(TASK, queue=queue, connection=_driver(uow)).defer(job_id=job_id)


def awaited(uow: Session, queue: str) -> bool:
    """Return whether a message of a queue waits for a worker."""
    statement = text(
        "SELECT EXISTS (SELECT FROM procrastinate_jobs"
        " WHERE status = 'todo' AND task_name = :task AND queue_name = :queue)"
    )
    return bool(uow.scalar(statement, {"task": TASK, "queue": queue}))


def drop_stalled(uow: Session, seconds: float) -> int:
    """Remove the messages held by workers that have been silent for `seconds`; returns how many.

    procrastinate can list such messages but not end them within a given transaction, and here that
    must happen together with giving their jobs back.
    """
    statement = text(
        "DELETE FROM procrastinate_jobs WHERE status = 'doing' AND task_name = :task AND NOT EXISTS ("
        " SELECT FROM procrastinate_workers w WHERE w.id = worker_id"
        " AND w.last_heartbeat >= now() - make_interval(secs => :seconds))"
    )
    return uow.connection().execute(statement, {"task": TASK, "seconds": seconds}).rowcount


def workers_alive(uow: Session, seconds: float) -> bool:
    """Return whether any worker gave a sign of life within the last `seconds`."""
    statement = text(
        "SELECT EXISTS (SELECT FROM procrastinate_workers"
        " WHERE last_heartbeat >= now() - make_interval(secs => :seconds))"
    )
    return bool(uow.scalar(statement, {"seconds": seconds}))


def worker_app(url: str, work: Callable[[Sequence[str]], Awaitable[None]]) -> App:
    """Return the app of a worker process, which calls `work(lane)` for each message of one of its queues."""
    logging.getLogger("psycopg.pool").setLevel("ERROR")
    app = App(connector=PsycopgConnector(conninfo=url, min_size=1, max_size=4))

    async def run(context: JobContext, job_id: str) -> None:
        await work(next(lane for lane in LANES if context.job.queue in lane))

    app.task(name=TASK, pass_context=True)(run)
    return app
