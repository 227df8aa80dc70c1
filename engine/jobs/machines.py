"""The machines that do jobs, their devices, and what jobs cost."""

import os
import socket
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from importlib.metadata import version

import pynvml
from sqlalchemy.orm import Session

from engine.jobs import repository
from engine.jobs.schemas import ACTIVE, DeviceView, FoundDevice, MachineView, Spent
from engine.kit.logs import logger
from engine.kit.settings import settings


def here() -> str:
    """Return the name of this machine."""
    return socket.gethostname()


def found() -> list[FoundDevice]:
    """Return the NVIDIA devices of this machine that its driver names; none is fine.

    `CUDA_VISIBLE_DEVICES` keeps the worker to some of them, as it does every CUDA program.
    """
    if "+cpu" in version("torch") or not settings().device_share:
        return []  # the driver may name devices that a build for processors cannot use
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        logger(__name__).info("no devices", reason=str(error))
        return []
    try:
        numbers = _visible(pynvml.nvmlDeviceGetCount())
        return [device for number in numbers if (device := _device(number))]
    finally:
        pynvml.nvmlShutdown()


def _visible(count: int) -> list[int]:
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return list(range(count))
    return [int(number) for number in given.split(",") if number.strip().isdigit() and int(number) < count]


def _device(number: int) -> FoundDevice | None:
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(number)
        total = int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
        name = pynvml.nvmlDeviceGetName(handle)
    except pynvml.NVMLError as error:
        logger(__name__).warning("device left alone", number=number, reason=str(error))
        return None
    # The model server has the rest.
    return FoundDevice(number=number, name=name, memory=int(total * settings().device_share))


def register(uow: Session, name: str, slots: int, devices: Sequence[FoundDevice]) -> None:
    """Note that a machine has begun to work, with these devices."""
    repository.put_machine(uow, name, slots)
    rows = [{"id": f"{name}/{one.number}", "machine": name, **one.model_dump()} for one in devices]
    repository.put_devices(uow, name, rows)


def alive(uow: Session, name: str, slots: int) -> None:
    """Note that a machine still works."""
    repository.put_machine(uow, name, slots)


def listing(uow: Session, seconds: float) -> list[MachineView]:
    """Return the machines that gave a sign of life within `seconds`, with what their devices have given."""
    used: Counter[str] = Counter()
    for job in repository.all_in(uow, ACTIVE):
        if job.device_id is not None:
            used[job.device_id] += job.memory
    rows = repository.machines(uow, seconds)
    devices = [
        DeviceView.model_validate(row).model_copy(update={"used": used[row.id]})
        for row in repository.devices(uow, [row.name for row in rows])
    ]
    return [
        MachineView(
            name=row.name,
            slots=row.slots,
            seen_at=row.seen_at,
            devices=[one for one in devices if one.machine == row.name],
        )
        for row in rows
    ]


def spent_on(uow: Session, job_id: str) -> Spent:
    """Return what all attempts at a job have cost so far; what runs is counted at its last sign of life."""
    cpu, gpu = repository.spent_on(uow, job_id)
    return Spent(cpu=cpu, gpu=gpu)


def spent(uow: Session, tenant_ids: Iterable[str], since: datetime) -> dict[str, Spent]:
    """Return what attempts have cost since then, for each of the tenants."""
    wanted = list(tenant_ids)
    rows = repository.spent(uow, wanted, since)
    nothing = (0.0, 0.0)
    return {
        tenant: Spent(cpu=rows.get(tenant, nothing)[0], gpu=rows.get(tenant, nothing)[1]) for tenant in wanted
    }
