"""Who sees which page of the studio, and what those read who may not."""

from apps import cards
from engine.accounts.schemas import Person
from engine.jobs.schemas import JobView
from engine.kit.messages import t

PATHS = ("", "data", "train", "publish", "prices", "earnings", "plan", "review", "operator", "money")
UNDER = {"passages": "", "retrieval": "", "indexes": ""}
"""Pages without a tab of their own, and the page whose tab is marked on them."""
NAMES = {path: path or "knowledge" for path in PATHS}
ROLES = {"review": "reviewer", "operator": "operator", "money": "operator"}
"""Who a page is for, where that is not the developer."""


def address(language: str, path: str = "", **query: str) -> str:
    """Return the address of a studio page; ids need no quoting."""
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    return f"/{language}/studio/{path}" + (f"?{asked}" if asked else "")


def tabs(person: Person | None, language: str, here: str) -> list[tuple[str, str, bool]]:
    """Return the pages that `person` can use; the one that is open is always among them."""
    here = UNDER.get(here, here)
    return [
        (address(language, path), t(f"studio.tab_{NAMES[path]}", language), path == here)
        for path in PATHS
        if path == here or person is None or _role_of(path) in person.roles
    ]


def _role_of(path: str) -> str:
    return ROLES.get(path, "developer")


def refusal(role: str, language: str) -> str:
    """Return what somebody reads who lacks the role of a page."""
    words = t(f"studio.needs_{role}", language)
    return cards.empty(words, f"/{language}/", t("studio.to_front", language))


def lost(message: str, language: str, path: str) -> str:
    """Return what stands on a page whose address names nothing that the person can see."""
    return cards.empty(message, address(language, path), t("studio.back_to_list", language))


def job_title(job: JobView, language: str) -> str:
    """Return what a job does, in words, and on what."""
    return t(f"studio.job_{job.kind.replace('.', '_')}", language, title=job.title)
