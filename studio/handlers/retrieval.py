"""The retrieval page: one question looked into, the saved questions and what they find."""

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from engine.accounts.schemas import Person
from engine.flows import check_retrieval as flow
from engine.flows import prepare_knowledge
from engine.kit.errors import BadInput
from engine.kit.messages import t
from engine.knowledge.schemas import CheckView, Only
from studio.views import retrieval as views

NONE = "none"
SHOWN = 5


@dataclass(frozen=True)
class Looked:
    """What a question finds, and the passages that may be its answer: (words, chunk id)."""

    html: str
    choices: list[tuple[str, str]]
    proposed: str


@dataclass(frozen=True)
class Overview:
    """The saved questions, what they found last and over time; `choices` are (words, id) of them."""

    result: str
    curve: go.Figure | None
    questions: str
    choices: list[tuple[str, str]]


def head(person: Person, base_id: str, language: str) -> str:
    """Return the top of the page. Raises NotFound."""
    return views.head(prepare_knowledge.base(person, base_id), language)


def labels(person: Person, base_id: str) -> list[str]:
    """Return the labels that a search can be kept to. Raises NotFound."""
    return prepare_knowledge.labels(person, base_id)


def look(
    person: Person, base_id: str, question: str, language: str, labels: Sequence[str] | None = None
) -> Looked:
    """Return what each search finds for a question, in documents with one of `labels` if there are any.

    Raises BadInput naming the field, NotFound.
    """
    found = flow.trace(person, base_id, question, Only(labels=tuple(labels or ())))
    choices = [(views.short(passage), passage.chunk_id) for passage in found.fused[:SHOWN]]
    return Looked(
        html=views.trace(found, SHOWN, language),
        choices=[*choices, (t("studio.none_answers", language), NONE)],
        proposed=found.used[0] if found.used else NONE,
    )


def save(person: Person, base_id: str, question: str, chosen: str | None) -> None:
    """Save a question with the chosen passage. Raises BadInput until one, or none of them, is chosen."""
    if not chosen:
        raise BadInput("studio.choose_passage", field="answer")
    flow.save_question(person, base_id, question, None if chosen == NONE else chosen)


def overview(person: Person, base_id: str, language: str) -> Overview:
    """Return the saved questions with what they found so far. Raises NotFound."""
    saved, past = flow.questions(person, base_id), flow.history(person, base_id)
    return Overview(
        result=views.result(past, language),
        curve=views.curve(past, language) if len(past) > 1 else None,
        questions=views.questions(saved, base_id, language),
        choices=[(question.text, question.id) for question in saved],
    )


def check(person: Person, base_id: str) -> CheckView:
    """Ask every saved question. Raises BadInput without one."""
    return flow.check(person, base_id)


def calibrate(person: Person, base_id: str) -> CheckView:
    """Set the threshold from the saved questions. Raises BadInput with too few."""
    return flow.calibrate(person, base_id)


def delete(person: Person, base_id: str, question_id: str | None) -> None:
    """Forget a saved question. Raises BadInput unless one is chosen, NotFound."""
    if not question_id:
        raise BadInput("studio.choose_question", field="question_id")
    flow.delete_question(person, base_id, question_id)
