"""The process of one job: `python -m engine.jobs.child JOB_ID TOKEN`, started by a worker."""

import ctypes
import importlib
import os
import signal
import sys

from sqlalchemy.exc import OperationalError

from engine.jobs import registry, service
from engine.jobs.context import JobContext
from engine.jobs.schemas import Fenced, StopJob
from engine.kit import logs
from engine.kit.database import unit_of_work
from engine.kit.errors import EngineError

HANDED_BACK = 75
"""Exit status of a process that stopped early and left the job as it is, for its worker to settle."""

PR_SET_PDEATHSIG = 1


def die_with(worker: int) -> None:
    """Have the kernel kill this process when its worker, the process `worker`, is gone.

    Set here and not by the worker between fork and exec, which is unsafe in a process with threads.
    The worker may have died before that, so look whether it still is the parent.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != worker:
        sys.exit(HANDED_BACK)


def work(job_id: str, token: int) -> None:
    """Run the handler of the job and mark the job succeeded; raises whatever ends it early."""
    with unit_of_work() as uow:
        job = service.held(uow, job_id, token)
    # Named by a variable, not imported: the wiring is a floor above this one.
    importlib.import_module(os.environ.get("MBE_WIRING", "engine.wiring")).register_jobs()
    entry = registry.find(job.kind)
    context = JobContext(job, token)
    signal.signal(signal.SIGTERM, lambda *_: context.hand_back())
    try:
        result = entry.handler(context)
    finally:
        context.flush()
        _count(job_id, token)
    with unit_of_work() as uow:
        done = context.succeed(uow, result)
        if entry.on_success is not None:
            entry.on_success(uow, done, result)


def _count(job_id: str, token: int) -> None:
    """Note what this process has used: its worker only looks now and then."""
    times = os.times()
    used = times.user + times.system + times.children_user + times.children_system
    with unit_of_work() as uow:
        service.count_cpu(uow, job_id, token, round(used * 1000))


def fail(job_id: str, token: int, key: str, facts: dict[str, object]) -> None:
    """Mark the job failed with a message of the catalog."""
    with unit_of_work() as uow:
        service.fail(uow, job_id, token, key, facts)


def run(job_id: str, token: int) -> int:
    """Do the job, settle it where this process can, and return the exit status."""
    log = logs.logger(__name__)
    try:
        try:
            work(job_id, token)
        except OperationalError:
            log.exception("the database did not answer")
            return HANDED_BACK
        except EngineError as error:
            log.warning("job refused", job=job_id, error=str(error), exc_info=True)
            fail(job_id, token, error.key, error.facts)
        except Exception:
            log.exception("job failed", job=job_id)
            fail(job_id, token, "jobs.crashed", {"job_id": job_id})
    except StopJob:
        return HANDED_BACK
    except Fenced:
        log.warning("job is with another worker now; nothing was written", job=job_id)
        return HANDED_BACK
    return 0


def main() -> None:
    """Entry point of the process."""
    if worker := os.environ.get("MBE_WORKER_PID"):
        die_with(int(worker))
    logs.configure("job")
    sys.exit(run(sys.argv[1], int(sys.argv[2])))


if __name__ == "__main__":
    main()
