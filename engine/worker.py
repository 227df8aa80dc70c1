"""The worker: takes jobs from the queue, gives each a process of its own and watches over it.

`python -m engine.worker`. Any number may run, on any number of machines.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Sequence

import psutil
from procrastinate import App

from engine.flows import meter_training
from engine.flows.schedule_jobs import next_job
from engine.jobs import machines, service
from engine.jobs.child import HANDED_BACK
from engine.jobs.context import workdirs
from engine.jobs.queue import worker_app
from engine.jobs.scheduling import LANES
from engine.jobs.schemas import Claim
from engine.kit import logs
from engine.kit.database import plain_url, unit_of_work
from engine.kit.process import supervised
from engine.kit.settings import settings
from engine.wiring import CHORES, Chore

TRAININGS_PER_DEVICE = 4
"""Slots of the training lane for each device: memory is what limits them there."""

STOP_GRACE = 3.0
"""Seconds that a job gets to hand itself back when the worker stops."""

LINGER_GRACE = 15.0
"""Seconds after which a process is killed that is cancelled, fenced or finished and still there."""

log = logs.logger(__name__)


async def work(lane: Sequence[str]) -> None:
    """Do jobs of a lane until none can start. When the worker stops, the one at hand goes back."""
    stop = asyncio.Event()
    working = asyncio.create_task(_work(lane, stop))
    try:
        await asyncio.shield(working)
    except asyncio.CancelledError:
        stop.set()
        await working
        raise


async def _work(lane: Sequence[str], stop: asyncio.Event) -> None:
    # Whoever ends a job looks for the next itself: what ended may be what that one waited for.
    while not stop.is_set() and (claim := await asyncio.to_thread(next_job, lane, machines.here())):
        log.info("job started", job=claim.job.id, kind=claim.job.kind, attempt=claim.job.attempt)
        process = await _spawn(claim)
        code = await watch(process, claim, stop)
        state = await asyncio.to_thread(_ended, claim, code, stop.is_set())
        log.info("job's process ended", job=claim.job.id, code=code, settled_as=state or "settled by itself")


def _ended(claim: Claim, code: int, stopping: bool) -> str | None:
    with unit_of_work() as uow:
        state = service.ended(
            uow, claim.job.id, claim.token, code=code, handed_back=code == HANDED_BACK, stopping=stopping
        )
    meter_training.ended(claim.job.id, claim.token)
    return state


async def _spawn(claim: Claim) -> asyncio.subprocess.Process:
    """Start the job's process.

    The event loop runs in the main thread, and must: the kernel's parent-death signal, which the child
    asks for, is tied to the thread that started it. The child gets the database's address, so that it
    never becomes an owner of the embedded server.
    """
    log_file = settings().home / "logs" / "jobs" / f"{claim.job.id}.log"
    log_file.parent.mkdir(parents=True, exist_ok=True)
    env = os.environ | {
        "MBE_DATABASE_URL": plain_url(),
        "MBE_TRACE_ID": claim.trace_id,
        "MBE_WORKER_PID": str(os.getpid()),
        # A job sees the device that it was given, and no other.
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # in which the driver numbers them
        "CUDA_VISIBLE_DEVICES": (claim.job.device_id or "/").rsplit("/", 1)[1],
    }
    command = (sys.executable, "-m", "engine.jobs.child", claim.job.id, str(claim.token))
    with log_file.open("ab") as out:
        # A session of its own, so that Ctrl-C in a terminal reaches only the worker.
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=env,
            start_new_session=True,
        )


async def watch(process: asyncio.subprocess.Process, claim: Claim, stop: asyncio.Event) -> int:
    """Keep the heartbeat fresh until the process has ended; return its exit status.

    A process that is cancelled, fenced or finished and does not leave is killed, and so is one that
    does not hand its job back in time once `stop` is set.
    """
    ending = asyncio.create_task(process.wait())
    stopping = asyncio.create_task(stop.wait())
    loop = asyncio.get_running_loop()
    patience = loop.time() + LINGER_GRACE
    try:
        while not ending.done():
            await asyncio.wait(
                {ending, stopping},
                timeout=settings().job_heartbeat_timeout / 4,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if stop.is_set():
                await _stop(process)
            elif not ending.done():
                if await asyncio.to_thread(_should_live, claim, process.pid):
                    patience = loop.time() + LINGER_GRACE
                elif loop.time() > patience:
                    with contextlib.suppress(ProcessLookupError):
                        process.kill()
        return await ending
    finally:
        stopping.cancel()


def _should_live(claim: Claim, pid: int) -> bool:
    """Renew the heartbeat; False when nobody waits for this process any more."""
    try:
        with unit_of_work() as uow:
            state = service.beat(uow, claim.job.id, claim.token, cpu_ms=_cpu_ms(pid))
        return state in ("running", "pausing")
    except Exception:
        log.exception("heartbeat failed", job=claim.job.id)
        return True


def _cpu_ms(pid: int) -> int:
    """Return the processor time of a process and its living descendants, in milliseconds."""
    used = 0.0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                used += sum(one.cpu_times()[:4])  # its own, and that of its ended children
    return round(used * 1000)


async def _stop(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), STOP_GRACE)
            return
        process.kill()
        await process.wait()


def _rescue() -> None:
    """Take over silent jobs, resend lost messages, remove scratch folders that nobody needs."""
    with unit_of_work() as uow:
        touched = service.rescue(uow, settings().job_heartbeat_timeout)
    if touched:
        log.warning("jobs rescued", jobs=touched)
    folders = [path.name for path in workdirs().glob("job_*")]
    if folders:
        with unit_of_work() as uow:
            done = service.without_use(uow, folders)
        for name in done:
            shutil.rmtree(workdirs() / name, ignore_errors=True)


async def _keep_rescuing() -> None:
    while True:
        try:
            await asyncio.to_thread(_rescue)
        except Exception:
            log.exception("rescue failed")
        await asyncio.sleep(settings().job_heartbeat_timeout / 4)


def _register() -> None:
    with unit_of_work() as uow:
        machines.register(uow, machines.here(), settings().worker_concurrency, machines.found())


async def _keep_known() -> None:
    while True:
        await asyncio.sleep(settings().job_heartbeat_timeout / 4)
        try:
            await asyncio.to_thread(_sign)
        except Exception:
            log.exception("sign of life failed")


def _sign() -> None:
    with unit_of_work() as uow:
        machines.alive(uow, machines.here(), settings().worker_concurrency)


async def _keep_house(chore: Chore) -> None:
    """Do a chore by the clock; what fails is tried again at the next turn."""
    while True:
        await asyncio.sleep(chore.seconds)
        try:
            await asyncio.to_thread(chore.do)
        except Exception:
            log.exception("chore failed", chore=chore.name)


async def _keep_serving(app: App, queues: Sequence[str], concurrency: int) -> None:
    """Serve some queues; after a broken connection, start over."""
    timeout = settings().job_heartbeat_timeout
    while True:
        try:
            await app.run_worker_async(
                queues=list(queues),
                name="-".join(queues),
                concurrency=concurrency,
                delete_jobs="always",
                install_signal_handlers=False,
                shutdown_graceful_timeout=0,
                update_heartbeat_interval=timeout / 4,
                stalled_worker_timeout=timeout,
            )
        except Exception:
            log.exception("the queue broke off", queues=queues)
        await asyncio.sleep(1)


def _training_slots() -> int:
    """Return how many trainings may run here at once: on processors one, else as memory allows."""
    return TRAININGS_PER_DEVICE * len(machines.found()) or 1


async def serve() -> None:
    """Work until SIGTERM or SIGINT, then give the running jobs back to the queue."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await asyncio.to_thread(_register)
    app = worker_app(plain_url(), work)
    async with app.open_async():
        lanes = zip(LANES, (settings().worker_concurrency, _training_slots()), strict=True)
        tasks = [asyncio.create_task(_keep_serving(app, queues, slots)) for queues, slots in lanes]
        tasks.append(asyncio.create_task(_keep_rescuing()))
        tasks.append(asyncio.create_task(_keep_known()))
        tasks.extend(asyncio.create_task(_keep_house(chore)) for chore in CHORES)
        log.info("worker ready", slots=settings().worker_concurrency)
        await stop.wait()
        log.info("worker stops; running jobs go back to the queue")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def main() -> None:
    """Entry point of the process."""
    supervised()
    logs.configure("worker")
    asyncio.run(serve())


if __name__ == "__main__":
    main()
