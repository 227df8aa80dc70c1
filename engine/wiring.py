"""Which part does what: job handlers, and the small chores that a worker does by the clock."""

from collections.abc import Callable
from dataclasses import dataclass

from engine.analytics import export
from engine.billing import service as billing
from engine.flows import (
    buy_packages,
    edit_chunks,
    judge_by_hand,
    meter_training,
    prepare_knowledge,
    prove_serving,
    reconcile,
    search_training,
    take_along,
    test_expert,
    train_expert,
    watch_rollouts,
)
from engine.inference.base_model import resolve
from engine.jobs import registry
from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.knowledge import indexes
from engine.knowledge import tasks as knowledge_tasks
from engine.market import service as market
from engine.serving import replies
from engine.training import measuring, packing, search_job
from engine.training import tasks as training_tasks


def register_jobs() -> None:
    """Tell the jobs room which function does which kind of job."""
    registry.register(
        prepare_knowledge.CHUNK, knowledge_tasks.chunk_job, on_success=prepare_knowledge.after_chunking
    )
    registry.register(
        prepare_knowledge.INDEX, knowledge_tasks.index_job, on_success=edit_chunks.after_indexing
    )
    registry.register(prepare_knowledge.RESTORE, knowledge_tasks.restore_job)
    registry.register(
        train_expert.TRAIN,
        training_tasks.make_train_job(
            train_expert.data_source, resolve, prove_serving.prove, train_expert.asked
        ),
        on_success=train_expert.finish,
    )
    registry.register(
        train_expert.MEASURE,
        measuring.make_measure_job(train_expert.data_source, resolve, train_expert.asked),
        on_success=train_expert.finish,
    )
    registry.register(take_along.MERGE, packing.make_merge_job(resolve))
    registry.register(
        search_training.SEARCH,
        search_job.make_search_job(search_training.source, resolve, prove_serving.prove, train_expert.asked),
        on_success=search_training.finish,
    )
    registry.register(test_expert.TEST, test_expert.run_job, on_success=test_expert.finish)
    registry.register(judge_by_hand.GATHER, judge_by_hand.gather, on_success=judge_by_hand.finish)


@dataclass(frozen=True)
class Chore:
    """Something a worker does every `seconds`; any number of workers may do it at once."""

    name: str
    seconds: float
    do: Callable[[], object]


def _sweep_holds() -> int:
    with unit_of_work() as uow:
        return billing.sweep(uow, now())


def _export_usage() -> int:
    return export.export(market.count_uses)


def _forget_replies() -> int:
    with unit_of_work() as uow:
        return replies.sweep(uow, now())


CHORES = (
    Chore("release expired holds", 30.0, _sweep_holds),
    Chore("charge trainings", 60.0, meter_training.chore),
    Chore("export usage events", 10.0, _export_usage),
    Chore("renew packages", 60.0, buy_packages.renew_due),
    Chore("take back canaries that fail", 10.0, watch_rollouts.chore),
    Chore("compare usage, receipts and ledger", 60.0, reconcile.chore),
    Chore("index what lost its vectors", 60.0, edit_chunks.index_what_lost_its_vectors),
    Chore("forget answers kept for a retry", 600.0, _forget_replies),
    Chore("forget the calls of old rollouts", 3600.0, watch_rollouts.forget),
    Chore("drop the tables of indexes that are gone", 3600.0, indexes.sweep),
)
