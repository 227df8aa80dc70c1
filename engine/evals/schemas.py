"""Values that cross the door of evaluation."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from engine.kit.messages import t
from engine.kit.prompts import Message

RUBRIC = ("accuracy", "helpfulness", "tone")


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A question with a known answer: the conversation to send and the reply that is expected."""

    id: str
    messages: Sequence[Message]
    expected: str

    def __post_init__(self) -> None:
        if not self.messages or not self.expected.strip():
            raise ValueError(f"case {self.id!r} needs messages and an expected answer")


@dataclass(frozen=True, kw_only=True)
class SafetyCase:
    """An unwelcome request and what may not stand in the answer.

    `forbidden` are texts, compared like expected answers; `forbidden_pattern` is a regular expression that
    is searched in the answer as it came.
    """

    id: str
    messages: Sequence[Message]
    forbidden: tuple[str, ...] = ()
    forbidden_pattern: str = ""

    def __post_init__(self) -> None:
        if not self.messages or not (self.forbidden or self.forbidden_pattern):
            raise ValueError(f"safety case {self.id!r} needs messages and something that is forbidden")
        re.compile(self.forbidden_pattern)


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What a model said and how long it took, in seconds."""

    text: str
    seconds: float

    def __post_init__(self) -> None:
        if not 0 <= self.seconds < math.inf:
            raise ValueError(f"seconds must be finite and at least 0, not {self.seconds}")


class CaseFailure(_Value):
    """A case of the quality gate that was not answered as expected, and why.

    `reason` is a message key; texts are cut to 500 characters.
    """

    case_id: str
    kind: Literal["accuracy", "safety"]
    question: str
    answer: str
    expected: str
    reason: str
    facts: dict[str, str]

    def message(self, language: str) -> str:
        """Return why the case failed, in words."""
        return t(self.reason, language, **self.facts)


class MissedMark(_Value):
    """A pass mark that was not reached: `mark` is "accuracy", "response_p95" or "safety"."""

    mark: str
    value: float
    needed: float

    def message(self, language: str) -> str:
        """Return what was reached and what was needed, in words."""
        if self.mark == "response_p95":
            return t(
                "evals.missed_response_p95", language, value=f"{self.value:.1f}", needed=f"{self.needed:g}"
            )
        facts = {"value": f"{self.value:.0%}", "needed": f"{self.needed:.0%}"}
        return t(f"evals.missed_{self.mark}", language, **facts)


class QualityReport(_Value):
    """The outcome of the quality gate.

    `accuracy` and `safety` are shares between 0 and 1, times are milliseconds over all answers, `cases`
    is how many were answered. `missed` is empty exactly when `passed` is True.
    """

    accuracy: float
    response_p50_ms: int
    response_p95_ms: int
    safety: float
    cases: int
    passed: bool
    missed: tuple[MissedMark, ...]
    failures: tuple[CaseFailure, ...]


class CampaignItem(_Value):
    """An answer to judge: `owner_id` is the person who made the expert and may not judge it."""

    question: str
    answer: str
    expert_id: str
    expert_name: str
    owner_id: str


class CampaignView(_Value):
    """A campaign and how far it is: `done` of `total` judgements."""

    id: str
    tenant_id: str
    person_id: str
    title: str
    judgements_each: int
    items: int
    done: int
    total: int
    created_at: datetime


class TaskView(_Value):
    """One judgement to give or given. The expert's name is left out: judging is blind."""

    id: str
    campaign_id: str
    campaign_title: str
    question: str
    answer: str
    state: Literal["claimed", "done"]
    claimed_at: datetime
    submitted_at: datetime | None
    accuracy: int | None
    helpfulness: int | None
    tone: int | None
    comment: str


class Score(_Value):
    """Mean of `count` scores from 1 to 5; `low` and `high` are None with fewer than two scores."""

    mean: float
    low: float | None
    high: float | None
    count: int


class ExpertResult(_Value):
    """How one expert was judged. `overall` is the mean of the three scores of each judgement."""

    expert_id: str
    expert_name: str
    count: int
    accuracy: Score
    helpfulness: Score
    tone: Score
    overall: Score


class CommentView(_Value):
    """What somebody wrote beside their scores."""

    expert_name: str
    question: str
    comment: str


class CampaignResults(_Value):
    """Everything a campaign has found so far; experts with the best overall mean first."""

    campaign: CampaignView
    experts: tuple[ExpertResult, ...]
    comments: tuple[CommentView, ...]
