"""Human evaluation: tasks that go evenly to people who do not judge their own work."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from scipy.special import stdtrit
from sqlalchemy.orm import Session

from engine.evals import repository
from engine.evals.models import Campaign, Item, Skip, Slot
from engine.evals.schemas import (
    RUBRIC,
    CampaignItem,
    CampaignResults,
    CampaignView,
    CommentView,
    ExpertResult,
    Score,
    TaskView,
)
from engine.kit.clock import now
from engine.kit.errors import BadInput, Conflict, NotFound
from engine.kit.ids import new_id

MOST_ITEMS = 10_000
MOST_JUDGEMENTS = 20
LONGEST_COMMENT = 2_000
CLAIM_MINUTES = 30
LOWEST, HIGHEST = 1, 5


def create_campaign(
    uow: Session,
    *,
    person_id: str,
    tenant_id: str,
    title: str,
    items: Sequence[CampaignItem],
    judgements_each: int = 1,
) -> CampaignView:
    """Open `items` for judging, each by `judgements_each` different people. An answer may be empty.

    Raises BadInput for an empty title or question and for a number of items or judgements out of range.
    """
    if not title.strip():
        raise BadInput("evals.empty_title", field="title")
    if not 1 <= len(items) <= MOST_ITEMS:
        raise BadInput("evals.items_count", field="items", count=len(items), most=MOST_ITEMS)
    if not 1 <= judgements_each <= MOST_JUDGEMENTS:
        raise BadInput("evals.judgements_range", field="judgements_each", least=1, most=MOST_JUDGEMENTS)
    for number, item in enumerate(items, 1):
        if not item.question.strip():
            raise BadInput("evals.empty_question", field="items", number=number)
    campaign = Campaign(
        id=new_id("ec"),
        tenant_id=tenant_id,
        person_id=person_id,
        title=_storable(title.strip()),
        judgements_each=judgements_each,
        created_at=now(),
    )
    repository.add_all(uow, [campaign])
    rows = [_item(campaign, ordinal, item) for ordinal, item in enumerate(items)]
    repository.add_all(uow, rows)
    repository.add_all(
        uow,
        [
            Slot(id=new_id("es"), tenant_id=tenant_id, item_id=row.id, number=number, state="open")
            for row in rows
            for number in range(judgements_each)
        ],
    )
    return get_campaign(uow, campaign.id, tenant_id)


def _item(campaign: Campaign, ordinal: int, item: CampaignItem) -> Item:
    return Item(
        id=new_id("ei"),
        tenant_id=campaign.tenant_id,
        campaign_id=campaign.id,
        ordinal=ordinal,
        question=_storable(item.question),
        answer=_storable(item.answer),
        expert_id=item.expert_id,
        expert_name=item.expert_name,
        owner_id=item.owner_id,
    )


def campaigns(uow: Session, tenant_id: str) -> list[CampaignView]:
    """Return the campaigns of a tenant, newest first."""
    return [_campaign_view(row) for row in repository.campaigns(uow, tenant_id)]


def get_campaign(uow: Session, campaign_id: str, tenant_id: str) -> CampaignView:
    """Return a campaign of a tenant. Raises NotFound."""
    found = repository.campaigns(uow, tenant_id, campaign_id)
    if not found:
        raise NotFound("evals.no_campaign")
    return _campaign_view(found[0])


def next_task(uow: Session, person_id: str) -> TaskView | None:
    """Return the task in hand, or claim the next one; None when there is nothing for this person.

    Nobody gets an answer of their own expert, one they judged or skipped, or one that another person
    holds. A task that was held for 30 minutes is free for others again.
    """
    repository.lock_person(uow, person_id)
    at = now()
    slot = repository.claimed_slot(uow, person_id)
    if slot is None:
        slot = repository.free_slot(uow, person_id, _expiry(at))
    if slot is None:
        return None
    slot.state, slot.person_id, slot.claimed_at = "claimed", person_id, at
    uow.flush()
    return _task(uow, slot.id, person_id)


def my_tasks(uow: Session, person_id: str, limit: int = 100) -> list[TaskView]:
    """Return what a person has in hand, then what they judged, newest first."""
    return [_task_view(row) for row in repository.tasks(uow, person_id, limit)]


def waiting(uow: Session, person_id: str) -> int:
    """Return how many answers this person could still be given."""
    return repository.waiting(uow, person_id, _expiry(now()))


def submit(
    uow: Session, task_id: str, person_id: str, scores: Mapping[str, int], comment: str = ""
) -> TaskView:
    """Record a judgement: a whole number from 1 to 5 for accuracy, helpfulness and tone.

    A task that was held too long still counts unless somebody else took it over. Raises BadInput naming the
    field, NotFound for a task that is not this person's (any more), Conflict when it is already judged.
    """
    slot = _held(uow, task_id, person_id)
    for name in RUBRIC:
        setattr(slot, name, _checked_score(name, scores.get(name)))
    comment = _storable(comment).strip()
    if len(comment) > LONGEST_COMMENT:
        raise BadInput("evals.long_comment", field="comment", length=len(comment), most=LONGEST_COMMENT)
    slot.comment, slot.state, slot.submitted_at = comment, "done", now()
    uow.flush()
    return _task(uow, task_id, person_id)


def skip(uow: Session, task_id: str, person_id: str) -> None:
    """Give a task back; this person does not get that answer again. Raises as `submit` does."""
    slot = _held(uow, task_id, person_id)
    passed = Skip(item_id=slot.item_id, person_id=person_id, tenant_id=slot.tenant_id, created_at=now())
    slot.state, slot.person_id, slot.claimed_at = "open", None, None
    repository.add_all(uow, [passed])


def results(uow: Session, campaign_id: str, tenant_id: str) -> CampaignResults:
    """Return the scores per expert with 95% intervals, and the newest 200 comments. Raises NotFound."""
    return CampaignResults(
        campaign=get_campaign(uow, campaign_id, tenant_id),
        experts=tuple(
            _expert_result(row) for row in repository.scores_by_expert(uow, campaign_id, tenant_id)
        ),
        comments=tuple(
            CommentView(expert_name=name, question=question, comment=comment)
            for name, question, comment in repository.comments(uow, campaign_id, tenant_id, limit=200)
        ),
    )


def _held(uow: Session, task_id: str, person_id: str) -> Slot:
    slot = repository.slot_of(uow, task_id, person_id)
    if slot is None:
        raise NotFound("evals.no_task", minutes=CLAIM_MINUTES)
    if slot.state == "done":
        raise Conflict("evals.already_submitted")
    return slot


def _checked_score(name: str, value: object) -> int:
    if value is None:
        raise BadInput("evals.score_missing", field=name)
    if not isinstance(value, int) or isinstance(value, bool) or not LOWEST <= value <= HIGHEST:
        raise BadInput("evals.score_range", field=name, value=str(value)[:40])
    return value


def _expiry(at: datetime) -> datetime:
    return at - timedelta(minutes=CLAIM_MINUTES)


def _storable(text: str) -> str:
    """Return `text` without what PostgreSQL refuses: NUL and halves of surrogate pairs."""
    return text.replace("\0", "").encode("utf-8", "ignore").decode()


def _campaign_view(row: tuple[Any, ...]) -> CampaignView:
    campaign, items, done, total = row
    return CampaignView(
        id=campaign.id,
        tenant_id=campaign.tenant_id,
        person_id=campaign.person_id,
        title=campaign.title,
        judgements_each=campaign.judgements_each,
        items=items,
        done=done,
        total=total,
        created_at=campaign.created_at,
    )


def _task(uow: Session, task_id: str, person_id: str) -> TaskView:
    (row,) = repository.tasks(uow, person_id, 1, task_id)
    return _task_view(row)


def _task_view(row: tuple[Any, ...]) -> TaskView:
    slot, question, answer, campaign_id, title = row
    return TaskView(
        id=slot.id,
        campaign_id=campaign_id,
        campaign_title=title,
        question=question,
        answer=answer,
        state=slot.state,
        claimed_at=slot.claimed_at,
        submitted_at=slot.submitted_at,
        accuracy=slot.accuracy,
        helpfulness=slot.helpfulness,
        tone=slot.tone,
        comment=slot.comment,
    )


def _expert_result(row: tuple[Any, ...]) -> ExpertResult:
    expert_id, name, count, *statistics = row
    scores = [_score(mean, deviation, count) for mean, deviation in zip(*[iter(statistics)] * 2, strict=True)]
    accuracy, helpfulness, tone, overall = scores
    return ExpertResult(
        expert_id=expert_id,
        expert_name=name,
        count=count,
        accuracy=accuracy,
        helpfulness=helpfulness,
        tone=tone,
        overall=overall,
    )


def _score(mean: Any, deviation: Any, count: int) -> Score:
    """Return a mean with Student's 95% interval, cut to the scale; two scores are the least for one."""
    if count < 2:
        return Score(mean=float(mean), low=None, high=None, count=count)
    spread = float(stdtrit(count - 1, 0.975)) * float(deviation) / math.sqrt(count)
    low, high = max(LOWEST, float(mean) - spread), min(HIGHEST, float(mean) + spread)
    return Score(mean=float(mean), low=low, high=high, count=count)
