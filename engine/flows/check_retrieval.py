"""How a knowledge base answers: one question looked into, the saved questions measured, the threshold set."""

from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput
from engine.knowledge import checks
from engine.knowledge.retrieve import EVERYTHING
from engine.knowledge.schemas import CheckView, Only, QuestionView, Trace


def trace(person: Person, base_id: str, question: str, only: Only = EVERYTHING) -> Trace:
    """Return what each search finds and what a model would be given. Raises BadInput, NotFound."""
    require(person, "developer")
    question = " ".join((question or "").split())
    if not 0 < len(question) <= checks.LONGEST_QUESTION:
        raise BadInput("knowledge.bad_question", field="question", most=checks.LONGEST_QUESTION)
    return checks.trace(base_id, person.tenant_id, question, only)


def save_question(person: Person, base_id: str, text: str, chunk_id: str | None) -> QuestionView:
    """Save a question with the chunk that answers it; None says that nothing in the base does."""
    require(person, "developer")
    with unit_of_work() as uow:
        return checks.save_question(
            uow, base_id=base_id, tenant_id=person.tenant_id, text=text or "", chunk_id=chunk_id
        )


def questions(person: Person, base_id: str) -> list[QuestionView]:
    """Return the saved questions of a base, oldest first."""
    require(person, "developer")
    with unit_of_work() as uow:
        return checks.questions(uow, base_id, person.tenant_id)


def delete_question(person: Person, base_id: str, question_id: str) -> None:
    """Forget a saved question. Raises NotFound."""
    require(person, "developer")
    with unit_of_work() as uow:
        checks.delete_question(uow, base_id, person.tenant_id, question_id)


def check(person: Person, base_id: str) -> CheckView:
    """Ask every saved question and keep what they find."""
    require(person, "developer")
    return checks.check(base_id, person.tenant_id)


def calibrate(person: Person, base_id: str) -> CheckView:
    """Set the base's threshold from its saved questions. Raises BadInput with too few of them."""
    require(person, "developer")
    return checks.calibrate(base_id, person.tenant_id)


def history(person: Person, base_id: str) -> list[CheckView]:
    """Return what earlier checks found, oldest first."""
    require(person, "developer")
    with unit_of_work() as uow:
        return checks.history(uow, base_id, person.tenant_id)
