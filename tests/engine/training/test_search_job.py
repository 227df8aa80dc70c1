"""A search carried out with a tiny model: its trials, its winner, and what happens when it is interrupted."""

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from engine.kit.blobs import blobs
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, EngineError, NotFound
from engine.kit.settings import settings
from engine.training import searches, service
from engine.training.recipe import LoraRecipe
from engine.training.schemas import Point, SearchView, Trial
from engine.training.search import best

HERE = Path(__file__).resolve().parent
WEIGHTS = "adapter_model.safetensors"
Rows = tuple[Path, Path]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


killed = load("killed_search")


def trials(search: SearchView) -> list[Trial]:
    with unit_of_work() as uow:
        return searches.trials(uow, search.id, "t")


def curve(run_id: str) -> list[Point]:
    with unit_of_work() as uow:
        return service.points(uow, run_id, "t")


def told(search: SearchView) -> list[tuple[Any, ...]]:
    """Return all that must not depend on interruptions."""
    return [
        (
            *(each.rank, each.learning_rate, each.epochs, each.ended, each.eval_loss, each.held_out),
            [(point.step, point.loss, point.eval_loss) for point in curve(each.run_id)],
        )
        for each in trials(search)
    ]


def weights(run_id: str) -> bytes:
    return blobs().read(f"adapters/{run_id}/{WEIGHTS}")


@pytest.mark.model
def test_a_search_makes_its_trials_and_only_the_best_keeps_its_files(
    db: str, tmp_path: Path, tiny_base: Path, row_files: Rows
) -> None:
    from engine.training.again import train_again

    search = killed.begin(questions=["Shelf 1?"])
    context = killed.Context(search.id, tmp_path)
    result = killed.do(context, tiny_base, row_files)
    found = trials(search)
    assert [each.number for each in found] == [1, 2, 3, 4]
    assert (found[0].rank, found[0].learning_rate, found[0].epochs) == (4, 1e-2, 2)
    assert all(each.ended and each.seconds and each.held_out for each in found)
    winner = best(found)
    assert winner is not None and result["best_run_id"] == winner.run_id
    assert result["eval_loss"] == winner.eval_loss == winner.held_out[-1][1]
    assert result["serving"]["state"] == "same" and result["provenance"]["files"].keys() > {WEIGHTS}
    assert {key.split("/")[1] for key in blobs().keys("adapters")} == {winner.run_id}
    assert {key.split("/")[1] for key in blobs().keys("checkpoints")} == {winner.run_id}
    assert [path.name for path in (tmp_path / "trials").iterdir()] == [winner.run_id]
    with unit_of_work() as uow:
        run = service.get_run(uow, winner.run_id, "t")
        assert service.samples(uow, winner.run_id, "t")
    assert (run.name, run.search_id, run.trial) == ("Shop", search.id, winner.number)
    alone = train_again(
        LoraRecipe.from_dict(run.recipe), tiny_base, "tiny", row_files, tmp_path / "alone", lambda *_: None
    )
    assert (alone.adapter / WEIGHTS).read_bytes() == weights(run.id)
    messages = [report.get("message") or "" for report in context.reports]
    assert any(message.startswith("trial 2/4 · step ") for message in messages)
    assert [report["done"] for report in context.reports if "total" in report][-1] == 4


@pytest.mark.model
def test_an_interrupted_search_ends_as_one_that_was_not(
    db: str, tmp_path: Path, tiny_base: Path, row_files: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.training import optimiser

    monkeypatch.setattr(optimiser, "OTHERS_BEFORE_PRUNING", 1)
    whole = killed.begin()
    result = killed.do(killed.Context(whole.id, tmp_path / "whole"), tiny_base, row_files)
    assert "pruned" in {each.ended for each in trials(whole)}
    search = killed.begin()
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[2]), "MBE_HOME": str(settings().home)}
    arguments = [search.id, tiny_base, *row_files, tmp_path / "killed", 9]
    ended = subprocess.run(
        [sys.executable, HERE / "killed_search.py", *map(str, arguments)],
        env=environment,
        capture_output=True,
        timeout=200,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()[-2000:]
    before = trials(search)
    assert before and before[-1].ended is None
    # Then paused after every few writes, each time on another machine.
    for machine in range(20):
        context = killed.Context(search.id, tmp_path / f"machine{machine}", writes=12)
        try:
            resumed = killed.do(context, tiny_base, row_files)
            break
        except killed.Stopped:
            continue
    assert machine >= 1
    assert told(search) == told(whole)
    assert resumed["eval_loss"] == result["eval_loss"]
    assert weights(resumed["best_run_id"]) == weights(result["best_run_id"])


@pytest.mark.model
def test_a_trial_that_cannot_win_is_given_up_and_keeps_its_curve(
    db: str, tmp_path: Path, tiny_base: Path, row_files: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.training import optimiser

    monkeypatch.setattr(optimiser, "hopeless", lambda space, ended, running: running.number == 2)
    search = killed.begin(killed.SPACE.changed({"epochs": (2, 3), "trials": 2}))
    killed.do(killed.Context(search.id, tmp_path), tiny_base, row_files)
    first, second = trials(search)
    assert (first.ended, second.ended) == ("done", "pruned")
    assert len(second.held_out) == 1 and second.eval_loss == second.held_out[0][1]
    assert [point.step for point in curve(second.run_id)] == [1, 2, 3, 4, 5]
    assert blobs().keys(f"checkpoints/{second.run_id}") == []


@pytest.mark.model
def test_failed_trials_are_counted_and_the_search_goes_on(
    db: str, tmp_path: Path, tiny_base: Path, row_files: Rows, failing: list[int]
) -> None:
    failing += [1, 2]
    search = killed.begin(killed.SPACE.changed({"epochs": (1, 1), "trials": 3}))
    result = killed.do(killed.Context(search.id, tmp_path), tiny_base, row_files)
    found = trials(search)
    assert [each.ended for each in found] == ["failed", "failed", "done"]
    assert result["best_run_id"] == found[2].run_id
    assert "loss stopped being a number" in found[0].error_text("en")
    assert "内存不足" in found[1].error_text("zh") and found[2].error_text("en") == ""


@pytest.mark.model
def test_a_search_whose_trials_all_fail_says_why(
    db: str, tmp_path: Path, tiny_base: Path, row_files: Rows, failing: list[int]
) -> None:
    failing += [1, 2]
    search = killed.begin(killed.SPACE.changed({"epochs": (1, 1), "trials": 2}))
    for _ in range(2):  # Asking it to go on changes nothing.
        with pytest.raises(EngineError, match="not enough memory"):
            killed.do(killed.Context(search.id, tmp_path), tiny_base, row_files)
    assert len(trials(search)) == 2


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Numbers of the trials that break off: odd ones diverge, even ones find no memory."""
    from engine.training import search_job
    from engine.training.callbacks import Diverged
    from engine.training.failures import OutOfMemory

    numbers: list[int] = []
    usual = search_job.carry_out

    def carry_out(run: Any, material: Any, questions: Any, workdir: Path, monitor: Any) -> Any:
        if run.trial not in numbers:
            return usual(run, material, questions, workdir, monitor)
        monitor.resumed(0)
        if run.trial % 2:
            raise Diverged("training.diverged", step=1, kept=0, rate="0.01")
        raise OutOfMemory("training.out_of_memory", kept=0, batch_size=4, max_length=32)

    monkeypatch.setattr(search_job, "carry_out", carry_out)
    yield numbers


@pytest.mark.model
def test_a_search_that_is_given_up_leaves_no_files(
    db: str, tmp_path: Path, tiny_base: Path, row_files: Rows
) -> None:
    search = killed.begin(killed.SPACE.changed({"epochs": (1, 2)}))
    context = killed.Context(search.id, tmp_path, writes=12)
    context.stop = "cancel"
    with pytest.raises(killed.Stopped):
        killed.do(context, tiny_base, row_files)
    assert len(trials(search)) > 1
    assert blobs().keys("adapters") == [] and blobs().keys("checkpoints") == []


def test_another_tenants_search_is_not_found(db: str, tmp_path: Path) -> None:
    context = killed.Context(killed.begin().id, tmp_path)
    context.params["tenant_id"] = "other"
    with pytest.raises(NotFound):
        killed.do(context, tmp_path, (tmp_path, tmp_path))


def test_without_held_out_rows_there_is_nothing_to_search_by(db: str) -> None:
    with pytest.raises(BadInput, match="holds none out") as caught:
        killed.begin(held_out_rows=0)
    assert caught.value.field == "dataset_id"


def test_ranks_that_cannot_be_served_are_refused_before_anything_starts(db: str) -> None:
    with pytest.raises(BadInput, match="cannot be served") as caught:
        killed.begin(killed.SPACE.changed({"rank": (4, 64)}))
    assert caught.value.field == "rank"


def test_the_handler_can_be_registered_without_heavy_libraries() -> None:
    code = "import sys, engine.training.search_job; sys.exit(bool({'torch', 'optuna'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=HERE.parents[2]).returncode == 0
