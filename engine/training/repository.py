"""The SQL of the training room."""

from collections.abc import Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from engine.training.models import TrainingPoint, TrainingRun, TrainingSample, TrainingSearch
from engine.training.schemas import Point, Sample


def add_run(uow: Session, run: TrainingRun) -> None:
    """Insert a run."""
    uow.add(run)
    uow.flush()


def run(uow: Session, run_id: str, tenant_id: str) -> TrainingRun | None:
    """Return a run of this tenant."""
    return uow.scalar(select(TrainingRun).where(TrainingRun.id == run_id, TrainingRun.tenant_id == tenant_id))


def runs(uow: Session, tenant_id: str, limit: int) -> Sequence[TrainingRun]:
    """Return the newest runs of this tenant; those of searches stand below their search."""
    query = select(TrainingRun).where(TrainingRun.tenant_id == tenant_id, TrainingRun.search_id.is_(None))
    return uow.scalars(
        query.order_by(TrainingRun.created_at.desc(), TrainingRun.id.desc()).limit(limit)
    ).all()


def points(uow: Session, run_id: str, after_step: int) -> Sequence[TrainingPoint]:
    """Return the points of a run behind a step, in order."""
    query = select(TrainingPoint).where(TrainingPoint.run_id == run_id, TrainingPoint.step > after_step)
    return uow.scalars(query.order_by(TrainingPoint.step)).all()


def usual_speed(uow: Session, base_model: str, method: str, points: int) -> float | None:
    """Return the median of the newest speeds (tokens a second) of a base model by a method."""
    # Recipes from before there were methods name none.
    by_method = func.coalesce(TrainingRun.recipe["method"].as_string(), "sft") == method
    newest = (
        select(TrainingPoint.tokens_per_second)
        .join(TrainingRun, TrainingRun.id == TrainingPoint.run_id)
        .where(TrainingRun.base_model == base_model, by_method, TrainingPoint.tokens_per_second.is_not(None))
        .order_by(TrainingRun.created_at.desc(), TrainingPoint.step.desc())
        .limit(points)
        .subquery()
    )
    median = func.percentile_cont(0.5).within_group(newest.c.tokens_per_second)
    return uow.scalar(select(median))


def drop_points(uow: Session, run_id: str, after_step: int) -> None:
    """Delete the points behind a step."""
    uow.execute(
        delete(TrainingPoint)
        .where(TrainingPoint.run_id == run_id, TrainingPoint.step > after_step)
        .execution_options(synchronize_session=False)
    )


def put_points(uow: Session, run_id: str, new: Sequence[Point]) -> None:
    """Insert points, replacing those of the same step."""
    if not new:
        return
    statement = insert(TrainingPoint).values([{"run_id": run_id, **point.model_dump()} for point in new])
    names = [name for name in Point.model_fields if name != "step"]
    uow.execute(
        statement.on_conflict_do_update(
            index_elements=[TrainingPoint.run_id, TrainingPoint.step],
            set_={name: statement.excluded[name] for name in names},
        )
    )


def samples(uow: Session, run_id: str) -> Sequence[TrainingSample]:
    """Return the answers of a run by step, those of a step in the order of its questions."""
    query = select(TrainingSample).where(TrainingSample.run_id == run_id)
    return uow.scalars(query.order_by(TrainingSample.step, TrainingSample.number)).all()


def drop_samples(uow: Session, run_id: str, after_step: int) -> None:
    """Delete the answers behind a step."""
    uow.execute(
        delete(TrainingSample)
        .where(TrainingSample.run_id == run_id, TrainingSample.step > after_step)
        .execution_options(synchronize_session=False)
    )


def put_samples(uow: Session, run_id: str, new: Sequence[Sample]) -> None:
    """Insert answers, replacing those to the same question at the same step."""
    if not new:
        return
    statement = insert(TrainingSample).values([{"run_id": run_id, **sample.model_dump()} for sample in new])
    uow.execute(
        statement.on_conflict_do_update(
            index_elements=[TrainingSample.run_id, TrainingSample.step, TrainingSample.number],
            set_={name: statement.excluded[name] for name in ("question", "answer")},
        )
    )


def add_search(uow: Session, search: TrainingSearch) -> None:
    """Insert a search."""
    uow.add(search)
    uow.flush()


def search(uow: Session, search_id: str, tenant_id: str) -> TrainingSearch | None:
    """Return a search of this tenant."""
    query = select(TrainingSearch).where(TrainingSearch.id == search_id)
    return uow.scalar(query.where(TrainingSearch.tenant_id == tenant_id))


def searches(uow: Session, tenant_id: str, limit: int) -> Sequence[TrainingSearch]:
    """Return the newest searches of this tenant."""
    query = select(TrainingSearch).where(TrainingSearch.tenant_id == tenant_id)
    return uow.scalars(
        query.order_by(TrainingSearch.created_at.desc(), TrainingSearch.id.desc()).limit(limit)
    ).all()


def trials(uow: Session, search_id: str) -> Sequence[TrainingRun]:
    """Return the runs of a search in their order."""
    query = select(TrainingRun).where(TrainingRun.search_id == search_id)
    return uow.scalars(query.order_by(TrainingRun.trial)).all()


def held_out(uow: Session, search_id: str) -> list[tuple[str, float, float]]:
    """Return (run, epoch, held-out loss) of all runs of a search, those of a run in their order."""
    query = (
        select(TrainingPoint.run_id, TrainingPoint.epoch, TrainingPoint.eval_loss)
        .join(TrainingRun, TrainingRun.id == TrainingPoint.run_id)
        .where(TrainingRun.search_id == search_id, TrainingPoint.eval_loss.is_not(None))
        .order_by(TrainingPoint.run_id, TrainingPoint.step)
    )
    return [(row.run_id, row.epoch, row.eval_loss) for row in uow.execute(query)]


def tallies(uow: Session, search_ids: Sequence[str]) -> list[tuple[str, int, float | None]]:
    """Return (search, trials that have ended, lowest held-out loss of those that are done)."""
    query = (
        select(
            TrainingRun.search_id,
            func.count(TrainingRun.ended).label("ended"),
            func.min(TrainingRun.final_eval_loss).filter(TrainingRun.ended == "done").label("lowest"),
        )
        .where(TrainingRun.search_id.in_(search_ids))
        .group_by(TrainingRun.search_id)
    )
    return [(row.search_id, row.ended, row.lowest) for row in uow.execute(query)]
