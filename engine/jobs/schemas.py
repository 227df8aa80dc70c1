"""What crosses the door of the jobs room: states, views, and the two signals that end a handler early."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from engine.kit.messages import t

State = Literal["queued", "running", "pausing", "paused", "cancelling", "cancelled", "succeeded", "failed"]

TRANSITIONS: dict[str, frozenset[str]] = {
    "queued": frozenset({"running", "paused", "cancelled"}),
    "running": frozenset({"pausing", "cancelling", "succeeded", "failed", "queued"}),
    "pausing": frozenset({"paused", "cancelling", "succeeded", "failed"}),
    "paused": frozenset({"queued", "cancelled"}),
    "cancelling": frozenset({"cancelled"}),
    "cancelled": frozenset(),
    "succeeded": frozenset(),
    "failed": frozenset({"queued"}),
}
"""From each state, the states that may follow it."""

ACTIVE = ("running", "pausing", "cancelling")
"""States in which a process holds the job."""

FINISHED = ("cancelled", "succeeded", "failed")
"""States in which nothing more happens by itself; a failed job can still be resumed."""


def error_words(job_id: str, key: str, facts: dict[str, Any], language: str) -> str:
    """Return the text of a stored error, also when its message has since left the catalog."""
    try:
        return t(key, language, **facts)
    except KeyError:
        return t("jobs.crashed", language, job_id=job_id)


class JobView(BaseModel):
    """One job as people see it. `done` and `total` count the handler's own steps; 0 means not known yet."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    id: str
    tenant_id: str
    owner_id: str
    kind: str
    title: str
    subject_id: str | None
    queue: str
    resource: str
    urgent: bool
    memory: int
    machine: str | None
    device_id: str | None
    state: State
    done: int
    total: int
    message: str
    metrics: dict[str, Any]
    params: dict[str, Any]
    checkpoint: dict[str, Any] | None
    result: dict[str, Any] | None
    error: str | None
    error_key: str | None
    error_facts: dict[str, Any]
    attempt: int
    created_at: datetime
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    heartbeat_at: datetime | None

    @property
    def finished(self) -> bool:
        """True when nothing more happens by itself."""
        return self.state in FINISHED

    def state_text(self, language: str) -> str:
        """Return the word for the state."""
        return t(f"jobs.state_{self.state}", language)

    def error_text(self, language: str) -> str | None:
        """Return why the job failed, or None while it has not."""
        if self.error_key is None:
            return None
        return error_words(self.id, self.error_key, self.error_facts, language)


class DeviceView(BaseModel):
    """A device of a live machine: its memory in bytes, and how much of it running jobs were given."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    id: str
    machine: str
    number: int
    name: str
    memory: int
    used: int = 0


class MachineView(BaseModel):
    """A machine whose worker gives signs of life."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    name: str
    slots: int
    seen_at: datetime
    devices: list[DeviceView] = []


class FoundDevice(BaseModel):
    """A device as a worker finds it: its place on the machine, its name, its memory in bytes."""

    model_config = ConfigDict(frozen=True)

    number: int
    name: str
    memory: int


class Spent(BaseModel):
    """What a tenant's jobs cost within a time, in seconds."""

    model_config = ConfigDict(frozen=True)

    cpu: float = 0.0
    gpu: float = 0.0


class Claim(BaseModel):
    """A job in the hands of one worker. Only writes that carry `token` count from here on."""

    model_config = ConfigDict(frozen=True)

    job: JobView
    token: int
    trace_id: str


# Both derive from BaseException so that a handler's `except Exception` around one bad item
# cannot swallow them, as with asyncio.CancelledError.


class StopJob(BaseException):
    """The handler was asked to stop, and does so after saving what it needs to continue."""


class Fenced(BaseException):
    """The job has been given to another worker; nothing this process writes counts any more."""
