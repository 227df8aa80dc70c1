"""Who runs next, and what the others wait for. Pure: everything it looks at is given.

The order is that of the product's first design, section 4.3: the base of the job's queue, the bonus of the
tenant's plan, one for each whole minute of waiting up to 50, and 200 for urgent jobs. Whoever the plan's
limits keep back does not keep others back. Whoever waits for a device does: nobody behind may take a device
that would fit, or large jobs would never find one free.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

QUEUES = {"high": 100, "normal": 50, "low": 0, "training": 50}
"""The queues, with the base that each gives: a low job that has waited 50 minutes equals a normal one."""

LANES: tuple[tuple[str, ...], ...] = (("high", "normal", "low"), ("training",))
"""Queues that share slots. Training has its own, so that it never keeps short jobs waiting."""

MOST_WAITING = 50
URGENT = 200

Reason = Literal["turn", "plan", "concurrent", "hours", "device"]
"""What a job waits for: a free slot, another plan, a place among its tenant's jobs, next month, a device."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What the plan of a tenant grants its jobs.

    `concurrent` says how many jobs of a resource may run at once (absent: no limit), `cpu_left` and
    `gpu_left` how many seconds are left in this month (None: no limit).
    """

    bonus: int = 0
    concurrent: Mapping[str, int] = field(default_factory=dict)
    cpu_left: float | None = None
    gpu_left: float | None = None


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A job that waits, or runs. `memory` is what it asks of a device in bytes, 0 for none."""

    job_id: str
    tenant_id: str
    queue: str
    resource: str
    since: datetime
    urgent: bool = False
    memory: int = 0
    device_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Device:
    """A processor that jobs are given memory of, in bytes."""

    id: str
    machine: str
    memory: int


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a waiting job stands in the line of its lane, from 1, and what it waits for.

    `device_id` is the device that it would get now.
    """

    job_id: str
    number: int
    score: int
    reason: Reason
    device_id: str | None = None


def score(job: Candidate, terms: Terms, now: datetime) -> int:
    """Return the priority of a waiting job; the highest runs first."""
    minutes = int(max(0.0, (now - job.since).total_seconds()) // 60)
    return QUEUES[job.queue] + terms.bonus + min(minutes, MOST_WAITING) + URGENT * job.urgent


def line(
    waiting: Iterable[Candidate],
    running: Sequence[Candidate],
    terms: Mapping[str, Terms],
    devices: Sequence[Device],
    now: datetime,
) -> list[Place]:
    """Return the places of all waiting jobs, the best first; equal ones in order of arrival.

    Reason "turn" means that nothing but a free slot is lacking: the first such job of a lane runs next.
    """
    scored = [(score(job, terms[job.tenant_id], now), job) for job in waiting]
    scored.sort(key=lambda pair: (-pair[0], pair[1].since, pair[1].job_id))
    busy = Counter((job.tenant_id, job.resource) for job in running)
    free = _free(devices, running)
    numbers: Counter[tuple[str, ...]] = Counter()
    places = []
    for points, job in scored:
        lane = next(lane for lane in LANES if job.queue in lane)
        numbers[lane] += 1
        reason, device_id = _obstacle(job, terms[job.tenant_id], busy, free)
        if reason == "device":
            free = {device: left for device, left in free.items() if device.memory < job.memory}
        places.append(
            Place(job_id=job.job_id, number=numbers[lane], score=points, reason=reason, device_id=device_id)
        )
    return places


def _free(devices: Sequence[Device], running: Sequence[Candidate]) -> dict[Device, int]:
    used: Counter[str] = Counter()
    for job in running:
        if job.device_id is not None:
            used[job.device_id] += job.memory
    return {device: device.memory - used[device.id] for device in devices}


def _obstacle(
    job: Candidate, terms: Terms, busy: Mapping[tuple[str, str], int], free: Mapping[Device, int]
) -> tuple[Reason, str | None]:
    limit = terms.concurrent.get(job.resource)
    if limit == 0:
        return "plan", None
    if limit is not None and busy.get((job.tenant_id, job.resource), 0) >= limit:
        return "concurrent", None
    left = terms.gpu_left if job.memory else terms.cpu_left
    if left is not None and left <= 0:
        return "hours", None
    if not job.memory:
        return "turn", None
    fits = next((device for device, left in free.items() if left >= job.memory), None)
    return ("turn", fits.id) if fits else ("device", None)
