"""A new version in traffic, on the page of an expert: its share, how it does, promotion and the way back."""

from dataclasses import dataclass
from typing import Any, Literal

import plotly.graph_objects as go

from apps import cards
from engine.accounts.schemas import Person
from engine.flows import roll_out as flow
from engine.kit.errors import BadInput, NotFound
from engine.kit.messages import t
from engine.market.schemas import ExpertView
from engine.serving.rollout_schemas import STRATEGIES, Margins
from studio.views import rollout as views

Mode = Literal["hidden", "empty", "start", "running", "return", "over"]
MARGINS = ("error_points", "slower_percent", "least_calls")
FIRST_SHARE = 10


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the part of the page shows: words, both plots, and what can be done; `back` names the button."""

    mode: Mode
    head: str = ""
    failures: go.Figure | None = None
    latency: go.Figure | None = None
    share: int = FIRST_SHARE
    back: str = ""


def state(person: Person, expert: ExpertView, language: str) -> Shown:
    """Return how an expert of the person's tenant stands between its versions."""
    versions = flow.versions(person, expert.name)
    published = next((one for one in versions if one.state == "published"), None)
    try:
        found = flow.newest(person, expert.name)
    except NotFound:
        found = None
    involved = found is not None and expert.id in (found.rollout.stable_id, found.rollout.candidate_id)
    if found is not None and involved and found.rollout.state == "running":
        return _watched("running", found, language)
    if found is not None and involved and found.can_return:
        return _watched("return", found, language)
    before = views.ended(found, language) if found is not None and involved else ""
    running = found is not None and found.rollout.state == "running"
    if expert.state == "approved" and published is not None and not running:
        words = t("rollouts.start_why", language, version=expert.version, stable=published.version)
        return Shown(mode="start", head=f"{before}<p class='mbe-muted'>{words}</p>")
    if expert.state == "published" and not running:
        approved = [one for one in versions if one.state == "approved"]
        words = (
            views.go_to(approved[-1], language) if approved else cards.empty(t("rollouts.empty", language))
        )
        return Shown(mode="empty", head=before + words)
    return Shown(mode="over", head=before) if before else Shown(mode="hidden")


def _watched(mode: Mode, found: flow.Watched, language: str) -> Shown:
    return Shown(
        mode=mode,
        head=views.head(found, language),
        failures=views.failures(found, language),
        latency=views.latency(found, language),
        share=found.rollout.weight_percent,
        back=t("rollouts.do_roll_back", language, version=found.stable.version),
    )


def strategies(language: str) -> list[tuple[str, str]]:
    """Return the strategies to choose from as (words, value)."""
    return [(t(f"rollouts.strategy_{name}", language), name) for name in STRATEGIES]


def _whole(value: Any) -> Any:
    """Return a number of a field as a whole one; what is none is refused where values are checked."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def start(person: Person, expert: ExpertView, strategy: str, share: Any, *margins: Any) -> None:
    """Give an approved version its share. Raises BadInput naming the field, Conflict when it cannot be."""
    given = {name: _whole(value) for name, value in zip(MARGINS, margins, strict=True)}
    try:
        checked = Margins(**given)
    except BadInput as error:
        name = str(error.field).removeprefix("margins.")
        raise BadInput(error.key, field=name, **error.facts) from error
    flow.start(
        person,
        expert.name,
        candidate_id=expert.id,
        strategy=strategy or "",
        weight_percent=_whole(share),
        margins=checked,
    )


def change(person: Person, expert: ExpertView, share: Any) -> None:
    """Give the candidate another share. Raises Conflict when it runs no more."""
    flow.change(person, expert.name, weight_percent=_whole(share))


def end(person: Person, expert: ExpertView, what: str, confirmed: bool) -> None:
    """Promote or roll back. Raises BadInput unless confirmed, Conflict when somebody was faster."""
    if not confirmed:
        raise BadInput("rollouts.confirm_first", field="confirmed")
    {"promote": flow.promote, "roll_back": flow.roll_back}[what](person, expert.name)
