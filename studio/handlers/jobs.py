"""Showing, pausing, resuming and cancelling a job of one's own tenant."""

from apps import cards
from engine.accounts.schemas import Person
from engine.flows import prepare_knowledge, schedule_jobs
from engine.jobs import service as jobs
from engine.jobs.schemas import JobView
from studio.handlers import access

CHANGES = {"pause": jobs.pause, "resume": jobs.resume, "cancel": jobs.cancel}


def change(person: Person, job_id: str, what: str) -> JobView:
    """Pause, resume or cancel. Raises NotFound for another tenant's job, Conflict in a wrong state."""
    return prepare_knowledge.change_job(person, job_id, CHANGES[what])


def card(job: JobView, language: str) -> str:
    """Return the card of a job, with its place in line while it waits and what it was charged."""
    place = schedule_jobs.place(job) if job.state == "queued" else None
    charged = schedule_jobs.cost(job).charged_micro
    return cards.job_card(job, language, access.job_title(job, language), place, charged)
