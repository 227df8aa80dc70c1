"""The developers' plan: what it grants, and how much of it is used."""

from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.flows import plan_limits
from studio.views import plan as views


def shown(person: Person, language: str) -> str:
    """Return the plan of the person's tenant and what is used of it."""
    require(person, "developer")
    return views.shown(plan_limits.mine(person), language)
