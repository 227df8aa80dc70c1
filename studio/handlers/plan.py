"""The developers' plan: what it grants, how much of it is used, and what it does not let them begin."""

from functools import partial

from apps import cards
from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.flows import plan_limits
from engine.flows.estimate_training import has_device
from engine.kit.errors import Forbidden
from engine.kit.messages import t
from studio.handlers import access
from studio.views import plan as views


def shown(person: Person, language: str) -> str:
    """Return the plan of the person's tenant and what is used of it."""
    require(person, "developer")
    return views.shown(plan_limits.mine(person), language)


def no_training(person: Person, language: str) -> str:
    """Return what stands instead of the form of a training when the plan has no room for one; else ""."""
    require = partial(plan_limits.require_training, device=has_device())
    return _refusal(plan_limits.barred(person, require), language)


def no_base(person: Person, language: str) -> str:
    """Return what stands instead of the form of a base when the plan has no room for one; else ""."""
    return _refusal(plan_limits.barred(person, plan_limits.require_base), language)


def _refusal(found: Forbidden | None, language: str) -> str:
    if found is None:
        return ""
    return cards.empty(
        found.message(language), access.address(language, "plan"), t("studio.to_plan", language)
    )
