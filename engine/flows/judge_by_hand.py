"""Human evaluation: an expert's answers are gathered, then rated by people who do not know whose they are."""

import asyncio
from typing import Any, Protocol

from sqlalchemy.orm import Session

from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.evals import service as evals
from engine.evals.schemas import CampaignItem, CampaignResults, CampaignView, TaskView
from engine.flows import speak
from engine.jobs import service as jobs
from engine.jobs.schemas import JobView
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, NotFound
from engine.kit.prompts import Message
from engine.market import service as market
from engine.market.schemas import SYSTEM

GATHER = "evals.gather"
MOST_QUESTIONS = 200
MOST_JUDGEMENTS = 10


class Context(Protocol):
    """What the handler needs of a job."""

    params: dict[str, Any]
    checkpoint: dict[str, Any] | None

    def report(self, *, done: int, total: int, message: str) -> None:
        """Show how far it is."""

    def save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what was gathered so far."""

    def check_stop(self) -> None:
        """Raise when the person asked to pause or cancel."""


def start(
    person: Person, *, title: str, expert_ids: list[str], questions: list[str], judgements_each: int = 1
) -> JobView:
    """Submit a campaign: each expert answers each question, then people rate the answers.

    Raises BadInput naming the field, NotFound for an expert that is not of the person's tenant.
    """
    require(person, "developer")
    asked = list(dict.fromkeys(question.strip() for question in questions if question.strip()))
    if not title.strip():
        raise BadInput("judging.no_title", field="title")
    if not 1 <= len(asked) <= MOST_QUESTIONS:
        raise BadInput("judging.questions", field="questions", most=MOST_QUESTIONS)
    if not expert_ids:
        raise BadInput("judging.no_expert", field="experts")
    if not 1 <= judgements_each <= MOST_JUDGEMENTS:
        raise BadInput("judging.judgements", field="judgements_each", most=MOST_JUDGEMENTS)
    with unit_of_work() as uow:
        for expert_id in expert_ids:
            if market.get(uow, expert_id, viewer=person).tenant_id != person.tenant_id:
                raise NotFound("market.unknown_expert", id=expert_id)
        return jobs.submit(
            uow,
            kind=GATHER,
            person_id=person.id,
            tenant_id=person.tenant_id,
            title=title.strip(),
            params={"expert_ids": expert_ids, "questions": asked, "judgements_each": judgements_each},
        )


def gather(ctx: Context) -> dict[str, Any]:
    """Job handler: let every expert answer every question; what is answered survives a stop."""
    questions, expert_ids = list(ctx.params["questions"]), list(ctx.params["expert_ids"])
    items: list[dict[str, str]] = list((ctx.checkpoint or {}).get("items", []))
    with unit_of_work() as uow:
        experts = [market.get(uow, expert_id, viewer=SYSTEM) for expert_id in expert_ids]
    wanted = [(expert, question) for expert in experts for question in questions]
    speak.wait_until_ready(ctx, len(wanted))
    with asyncio.Runner() as runner:  # one loop for all questions, so that connections are kept
        for expert, question in wanted[len(items) :]:
            ctx.check_stop()
            asked: list[Message] = [{"role": "user", "content": question}]
            items.append(
                {
                    "question": question,
                    "answer": runner.run(speak.whole_answer(speak.Speaker.of(expert), asked)),
                    "expert_id": expert.id,
                    "expert_name": f"{expert.title} {expert.version}",
                    "owner_id": expert.owner_id,
                }
            )
            ctx.save_checkpoint({"items": items})
            ctx.report(done=len(items), total=len(wanted), message=f"answer {len(items)}/{len(wanted)}")
    return {"items": items}


def finish(uow: Session, job: JobView, result: dict[str, Any]) -> None:
    """Open the campaign with the gathered answers; with the end of the job."""
    evals.create_campaign(
        uow,
        person_id=job.owner_id,
        tenant_id=job.tenant_id,
        title=job.title,
        items=[CampaignItem(**item) for item in result["items"]],
        judgements_each=int(job.params["judgements_each"]),
    )


def gathering(person: Person) -> list[JobView]:
    """Return the tenant's campaigns that are still gathering answers, or failed to."""
    require(person, "developer")
    with unit_of_work() as uow:
        found = jobs.listing(uow, person.tenant_id, kinds=(GATHER,), limit=20)
    return [job for job in found if job.state not in ("succeeded", "cancelled")]


def campaigns(person: Person) -> list[CampaignView]:
    """Return the tenant's campaigns, newest first."""
    require(person, "developer")
    with unit_of_work() as uow:
        return evals.campaigns(uow, person.tenant_id)


def results(person: Person, campaign_id: str) -> CampaignResults:
    """Return how a campaign of the tenant stands. Raises NotFound."""
    require(person, "developer")
    with unit_of_work() as uow:
        return evals.results(uow, campaign_id, person.tenant_id)


def next_task(person: Person) -> TaskView | None:
    """Return the answer to rate next, or None when there is nothing left for this person."""
    require(person, "evaluator", "checker")
    with unit_of_work() as uow:
        return evals.next_task(uow, person.id)


def my_tasks(person: Person) -> list[TaskView]:
    """Return what the person has rated or has in hand, newest first."""
    require(person, "evaluator", "checker")
    with unit_of_work() as uow:
        return evals.my_tasks(uow, person.id)


def submit(person: Person, task_id: str, scores: dict[str, int], comment: str) -> TaskView:
    """Record a rating: accuracy, helpfulness and tone from 1 to 5."""
    require(person, "evaluator", "checker")
    with unit_of_work() as uow:
        return evals.submit(uow, task_id, person.id, scores, comment)


def skip(person: Person, task_id: str) -> None:
    """Give a task back to the pool."""
    require(person, "evaluator", "checker")
    with unit_of_work() as uow:
        evals.skip(uow, task_id, person.id)
