"""Pausing, resuming and cancelling a job of one's own tenant."""

from engine.accounts.schemas import Person
from engine.flows import prepare_knowledge
from engine.jobs import service as jobs
from engine.jobs.schemas import JobView

CHANGES = {"pause": jobs.pause, "resume": jobs.resume, "cancel": jobs.cancel}


def change(person: Person, job_id: str, what: str) -> JobView:
    """Pause, resume or cancel. Raises NotFound for another tenant's job, Conflict in a wrong state."""
    return prepare_knowledge.change_job(person, job_id, CHANGES[what])
