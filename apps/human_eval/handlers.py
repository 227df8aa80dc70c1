"""What the human evaluation pages show and do: values in, views out, no gradio."""

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from apps.human_eval import plots, views
from engine.accounts.schemas import Person
from engine.evals.schemas import TaskView
from engine.flows import judge_by_hand as flow
from engine.flows import prepare_knowledge, publish_expert
from engine.jobs import service as jobs
from engine.jobs.schemas import JobView
from engine.kit.errors import Conflict, NotFound

ROLES = {"": ("evaluator", "checker"), "campaigns": ("developer",)}
"""Who uses which page."""

CHOOSABLE = ("tested", "pending_review", "approved", "published")
"""States of an expert whose answers are worth people's time."""

MOST_TASKS = 100
CHANGES = {"pause": jobs.pause, "resume": jobs.resume, "cancel": jobs.cancel}


@dataclass(frozen=True)
class Desk:
    """An evaluator's page: the task in hand (or `empty`), and what was rated before."""

    task_id: str
    task: str
    empty: str
    progress: str
    rated: str


@dataclass(frozen=True)
class Campaigns:
    """A developer's page: experts to choose from, what is gathering, what was opened."""

    experts: tuple[tuple[str, str], ...]
    no_experts: str
    gathering: tuple[JobView, ...]
    listing: str


@dataclass(frozen=True)
class Results:
    """One campaign: how far it is, and what was found so far."""

    head: str
    message: str
    found: str
    plot: go.Figure | None
    comments: str


def refusal(person: Person, path: str, language: str) -> str:
    """Return what somebody reads who has no part in a page; nothing for those who have."""
    if person.roles & set(ROLES[path]):
        return ""
    others = [other for other in ROLES if other != path and person.roles & set(ROLES[other])]
    return views.refusal(path, others[0] if others else None, language)


def desk(person: Person, language: str) -> Desk:
    """Return the next answer to rate; it is this person's for half an hour. Raises Forbidden."""
    task = flow.next_task(person)
    rated = [one for one in flow.my_tasks(person) if one.state == "done"]
    return Desk(
        task_id=task.id if task else "",
        task=views.task(task, language) if task else "",
        empty="" if task else views.nothing_left(bool(rated), language),
        progress=views.progress(len(rated), MOST_TASKS, language),
        rated=views.rated(rated, language),
    )


def submit(
    person: Person,
    task_id: str,
    accuracy: int | None,
    helpfulness: int | None,
    tone: int | None,
    comment: str,
) -> TaskView:
    """Record a rating. Raises BadInput at the score that is missing, NotFound when the task is gone."""
    given = {"accuracy": accuracy, "helpfulness": helpfulness, "tone": tone}
    scores = {name: score for name, score in given.items() if score is not None}
    return flow.submit(person, task_id, scores, comment or "")


def skip(person: Person, task_id: str) -> None:
    """Give the task back for somebody else; one that is gone already needs nothing."""
    try:
        flow.skip(person, task_id)
    except (NotFound, Conflict):
        return


def campaigns(person: Person, language: str) -> Campaigns:
    """Return the tenant's campaigns and what a new one can be made of. Raises Forbidden."""
    experts = [one for one in publish_expert.mine(person) if one.state in CHOOSABLE]
    gathering = flow.gathering(person)
    return Campaigns(
        experts=tuple((views.expert_name(one, language), one.id) for one in experts),
        no_experts="" if experts else views.no_experts(language),
        gathering=tuple(gathering),
        listing=views.campaigns(flow.campaigns(person), language),
    )


def start(
    person: Person,
    title: str,
    expert_ids: Sequence[str] | None,
    questions: str,
    judgements_each: float | None,
) -> JobView:
    """Start gathering answers; questions stand one a line. Raises BadInput naming the field."""
    return flow.start(
        person,
        title=title or "",
        expert_ids=list(expert_ids or ()),
        questions=(questions or "").splitlines(),
        judgements_each=int(judgements_each or 0),
    )


def change(person: Person, job_id: str, what: str) -> JobView:
    """Pause, resume or cancel a gathering. Raises NotFound for another tenant's job, Conflict."""
    return prepare_knowledge.change_job(person, job_id, CHANGES[what])


def results(person: Person, campaign_id: str, language: str) -> Results:
    """Return how a campaign of the tenant stands. Raises NotFound, Forbidden."""
    found = flow.results(person, campaign_id)
    return Results(
        head=views.head(found.campaign, language),
        message=views.message(found, language),
        found=views.found(found, language),
        plot=plots.scores(found.experts, language) if found.experts else None,
        comments=views.comments(found.comments, language),
    )
