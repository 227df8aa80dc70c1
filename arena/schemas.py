"""Values that cross the arena's door."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Side = Literal["left", "right"]
Verdict = Literal["left", "right", "tie", "both_bad"]
BASE = "base"


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class Contestant(_Value):
    """Who may fight: `model` is an expert id or "base"; `owner_id` is the person who made the expert."""

    model: str = Field(min_length=1)
    name: str = Field(min_length=1)
    owner_id: str | None = None


class SideView(_Value):
    """One answer. `model` and `name` stay None until the battle is voted on."""

    answer: str
    finished: bool
    model: str | None = None
    name: str | None = None


class BattleView(_Value):
    """A battle as its person may see it now.

    `rated` is False when one side is the person's own expert; `note` then holds the message key that
    says so ("arena.own_expert"). `verdict` is None until the vote.
    """

    id: str
    prompt: str
    category: str | None
    left: SideView
    right: SideView
    verdict: Verdict | None
    rated: bool
    note: str | None
    created_at: datetime


class Judgement(_Value):
    """What the ratings are computed from: two models and who did better."""

    left: str
    right: str
    verdict: Verdict


class Rating(_Value):
    """A model's strength on the Elo scale: 400 points are odds of ten to one.

    `low` and `high` bound the 95% interval. `rank` counts within `group`: models that no chain of
    votes joins cannot be compared, and `several_groups` says that there are such. `settled` is False
    while some models of the group never lost to (or never beat) the others: the votes then bound the
    distance from one side only, and the interval is wide.
    """

    model: str
    name: str
    rating: float
    low: float
    high: float
    battles: int
    rank: int
    group: int
    several_groups: bool
    settled: bool


class WinsMatrix(_Value):
    """`wins[i][j]` is how often `models[i]` beat `models[j]`, ties and "both bad" as half a win each."""

    models: tuple[str, ...]
    names: tuple[str, ...]
    wins: tuple[tuple[float, ...], ...]
