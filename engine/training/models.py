"""Tables of training runs, the points of their curves, and what the models answered on the way."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from engine.kit.database import Base


class TrainingSearch(Base):
    """A search for good values: where it looks, and what all of its trials share."""

    __tablename__ = "training_searches"

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(index=True)
    owner_id: Mapped[str]
    name: Mapped[str]
    job_id: Mapped[str | None]
    dataset_id: Mapped[str]
    dataset_fingerprint: Mapped[str | None]
    knowledge_base_ids: Mapped[list[str]]
    questions: Mapped[list[str]]
    base_model: Mapped[str]
    space: Mapped[dict[str, Any]]
    recipe: Mapped[dict[str, Any]]
    best_run_id: Mapped[str | None]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class TrainingRun(Base):
    """One fine-tuning: the recipe, the data it saw and what came out.

    A trial of a search has its number in it, how it ended, and what it gave, as they share one job.
    """

    __tablename__ = "training_runs"
    __table_args__ = (UniqueConstraint("search_id", "trial"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(index=True)
    owner_id: Mapped[str]
    name: Mapped[str]
    job_id: Mapped[str | None] = mapped_column(index=True)
    dataset_id: Mapped[str] = mapped_column(index=True)
    knowledge_base_ids: Mapped[list[str]] = mapped_column(server_default=text("'[]'"))
    questions: Mapped[list[str]] = mapped_column(server_default=text("'[]'"))
    base_model: Mapped[str]
    recipe: Mapped[dict[str, Any]]
    dataset_fingerprint: Mapped[str | None]
    adapter_prefix: Mapped[str | None]
    final_loss: Mapped[float | None]
    final_eval_loss: Mapped[float | None]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    search_id: Mapped[str | None] = mapped_column(ForeignKey(TrainingSearch.id, ondelete="CASCADE"))
    trial: Mapped[int | None]
    ended: Mapped[str | None]
    result: Mapped[dict[str, Any] | None]


class TrainingPoint(Base):
    """What was measured at one step of a run."""

    __tablename__ = "training_points"

    run_id: Mapped[str] = mapped_column(ForeignKey(TrainingRun.id, ondelete="CASCADE"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    epoch: Mapped[float]
    loss: Mapped[float | None]
    eval_loss: Mapped[float | None]
    learning_rate: Mapped[float | None]
    grad_norm: Mapped[float | None]
    tokens_per_second: Mapped[float | None]
    memory: Mapped[int | None]
    margin: Mapped[float | None]
    eval_margin: Mapped[float | None]
    eval_accuracy: Mapped[float | None]


class TrainingSample(Base):
    """What the model answered at one step of a run to one of its questions."""

    __tablename__ = "training_samples"

    run_id: Mapped[str] = mapped_column(ForeignKey(TrainingRun.id, ondelete="CASCADE"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    question: Mapped[str]
    answer: Mapped[str]
