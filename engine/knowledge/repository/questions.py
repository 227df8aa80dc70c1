"""Questions that a base is checked with, and what checks found."""

from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from engine.knowledge.models import KnowledgeCheck, KnowledgeDocument, KnowledgeQuestion
from engine.knowledge.schemas import CheckView, QuestionView


def save_question(uow: Session, values: dict[str, Any]) -> None:
    """Insert a question; one with the same text gets the new place."""
    query = insert(KnowledgeQuestion).values(**values)
    place = {name: values[name] for name in ("document_id", "start", "end")}
    uow.execute(query.on_conflict_do_update(index_elements=["base_id", "text"], set_=place))


def count_questions(uow: Session, base_id: str) -> int:
    """Return how many questions a base has."""
    query = select(func.count()).select_from(KnowledgeQuestion)
    return uow.execute(query.where(KnowledgeQuestion.base_id == base_id)).scalar_one()


def questions(uow: Session, base_id: str, tenant_id: str) -> list[QuestionView]:
    """Return the questions of a base, oldest first."""
    query = (
        select(KnowledgeQuestion.__table__, KnowledgeDocument.name.label("document_name"))
        .outerjoin(KnowledgeDocument, KnowledgeDocument.id == KnowledgeQuestion.document_id)
        .where(KnowledgeQuestion.base_id == base_id, KnowledgeQuestion.tenant_id == tenant_id)
        .order_by(KnowledgeQuestion.id)
    )
    return [QuestionView.model_validate(row) for row in uow.execute(query)]


def delete_question(uow: Session, base_id: str, tenant_id: str, question_id: str) -> bool:
    """Delete a question; False when the base has no such question."""
    query = delete(KnowledgeQuestion).where(
        KnowledgeQuestion.id == question_id,
        KnowledgeQuestion.base_id == base_id,
        KnowledgeQuestion.tenant_id == tenant_id,
    )
    return bool(uow.execute(query.returning(KnowledgeQuestion.id)).all())


def add_check(uow: Session, values: dict[str, Any]) -> CheckView:
    """Insert what a check found."""
    made = KnowledgeCheck(**values)
    uow.add(made)
    uow.flush()
    return CheckView.model_validate(made)


def took_over(uow: Session, index_id: str, tenant_id: str) -> None:
    """Count the newest check of an index among those of the index that answers."""
    mine = (KnowledgeCheck.index_id == index_id, KnowledgeCheck.tenant_id == tenant_id)
    newest = select(func.max(KnowledgeCheck.id)).where(*mine).scalar_subquery()
    uow.execute(update(KnowledgeCheck).where(KnowledgeCheck.id == newest).values(live=True))


def checks(uow: Session, base_id: str, tenant_id: str) -> list[CheckView]:
    """Return what the checks of a base found in all its indexes, oldest first."""
    query = (
        select(KnowledgeCheck)
        .where(KnowledgeCheck.base_id == base_id, KnowledgeCheck.tenant_id == tenant_id)
        .order_by(KnowledgeCheck.id)
    )
    return [CheckView.model_validate(each) for each in uow.scalars(query)]
