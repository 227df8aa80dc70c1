"""procrastinate, the queue that carries jobs to workers. The only file that knows it."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from procrastinate import App, JobContext, PsycopgConnector, SyncPsycopgConnector
from sqlalchemy import text
from sqlalchemy.orm import Session

TASK = "jobs.run"
QUEUES = {"high": 1000, "normal": 0, "low": -1000, "training": 0}
"""The queues, with what each adds to a job's priority: one worker serves the first three in this order."""

# Never opened: it only ever works on the connection of the caller's transaction.
_app = App(connector=SyncPsycopgConnector())


def _driver(uow: Session) -> Any:
    """The psycopg connection beneath the session: what runs on it commits with the unit of work."""
    return uow.connection().connection.driver_connection


def defer(uow: Session, *, job_id: str, queue: str, priority: int) -> int:
    """Put a job into the queue within the caller's transaction; returns the message's id."""
    task = _app.configure_task(TASK, queue=queue, priority=QUEUES[queue] + priority, connection=_driver(uow))
    return task.defer(job_id=job_id)


def withdraw(uow: Session, delivery_id: int) -> None:
    """Take a message that no worker has fetched yet out of the queue."""
    _app.job_manager.cancel_job_by_id(delivery_id, delete_job=True, connection=_driver(uow))


def drop_stalled(uow: Session, seconds: float) -> int:
    """Remove the messages held by workers that have been silent for `seconds`; returns how many.

    procrastinate can list such messages but not end them within a given transaction, and here that
    must happen together with the new delivery.
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


def worker_app(url: str, run: Callable[[JobContext, str], Awaitable[None]]) -> App:
    """Return the app of a worker process, which calls `run(context, job_id)` for each message."""
    logging.getLogger("psycopg.pool").setLevel("ERROR")
    app = App(connector=PsycopgConnector(conninfo=url, min_size=1, max_size=4))
    app.task(name=TASK, pass_context=True)(run)
    return app
