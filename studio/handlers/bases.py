"""The knowledge bases of a run or an expert, on its own page."""

from collections.abc import Sequence

from engine.accounts.schemas import Person
from engine.flows import prepare_knowledge
from engine.kit.errors import NotFound
from engine.kit.messages import t
from studio.views import experts as views


def ways(person: Person, base_ids: Sequence[str], language: str) -> str:
    """Return all bases by name, each a way to its page; nothing when there are none."""
    return views.knowledge([(_name(person, base_id, language), base_id) for base_id in base_ids], language)


def _name(person: Person, base_id: str, language: str) -> str:
    try:
        return prepare_knowledge.base(person, base_id).name
    except NotFound:  # an expert outlives its bases
        return t("studio.deleted_base", language)
