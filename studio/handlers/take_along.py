"""Taking an expert along: its merged model, and where to send it."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from apps import cards
from apps.cards import Html
from engine.accounts.schemas import Person
from engine.flows import take_along as flow
from engine.jobs.schemas import JobView
from engine.kit.messages import t
from engine.kit.settings import settings


@dataclass(frozen=True)
class Taken:
    """How far the merged model is: words and link, the merge to watch, whether one can be started."""

    shown: str
    job: JobView | None
    can_merge: bool
    merged: bool


def has_weights(person: Person, expert_id: str) -> bool:
    """Tell whether there is something to take along; a prompt has no weights. Raises NotFound."""
    return bool(flow.find(person, expert_id).adapter_prefix)


def state(person: Person, expert_id: str, language: str) -> Taken:
    """Return how far the merged model of an expert is. Raises NotFound."""
    found = flow.merged(person, expert_id)
    model = found.model
    if model is None:
        shown = f"<p class='mbe-muted'>{t('takealong.none_yet', language)}</p>"
    else:
        facts = {"count": len(model.files), "size": cards.size(model.size)}
        address = f"/api/admin/models/{expert_id}/merged.zip?language={language}"
        link = cards.link(address, t("takealong.download", language)).text
        shown = f'<p>{t("takealong.ready", language, **facts)}</p><p class="mbe-ways">{link}</p>'
    ended = found.job is None or found.job.state in ("succeeded", "cancelled")
    return Taken(
        shown=shown,
        job=None if ended else found.job,
        can_merge=not found.under_way,
        merged=model is not None,
    )


def merge(person: Person, expert_id: str) -> JobView:
    """Start a merge. Raises Conflict while one is under way."""
    return flow.merge(person, expert_id)


def parts(language: str) -> list[tuple[str, str]]:
    """Return what can be sent, as (words, value)."""
    return [(t(f"takealong.part_{name}", language), name) for name in flow.PARTS]


def hub_name() -> str:
    """Return the host of the hub, as people call it."""
    return urlsplit(settings().hub_endpoint).netloc


def push(
    person: Person, expert_id: str, repo: str, token: str, what: str, private: bool, language: str
) -> str:
    """Send an expert to the hub and say where it is. Raises as the flow does."""
    pushed = flow.push(
        person,
        expert_id,
        repo=repo or "",
        token=token or "",
        what=what or "",
        private=private,
        language=language,
    )
    link = cards.outside_link(pushed.address, pushed.repo).text
    return cards.note(Html(t("takealong.pushed", language, count=len(pushed.files)) + link), "good")
