import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.kit.blobs import blobs
from engine.kit.database import unit_of_work
from engine.kit.errors import NotFound
from engine.training import service
from engine.training.checkpoints import base_digest, data_digest
from engine.training.recipe import LoraRecipe
from engine.training.schemas import Point, Probe, Sample, Serving
from engine.training.tasks import JobMonitor, make_train_job

RECIPE = LoraRecipe(rank=4, alpha=8, epochs=2, batch_size=4, learning_rate=1e-2, save_steps=3)
STEPS = 10


def told_to_be_the_same(ctx: Any, adapter_prefix: str, precision: str, probes: Sequence[Probe]) -> Serving:
    """Stands for the comparison with a model server, which has tests of its own."""
    assert adapter_prefix.startswith("adapters/") and precision == "float32" and probes
    return Serving(state="same", tokens=sum(len(probe.logprobs) for probe in probes))


@pytest.fixture
def run_id(db: str) -> str:
    with unit_of_work() as uow:
        return service.create_run(
            uow,
            person_id="p",
            tenant_id="t",
            name="Shop",
            dataset_id="ds",
            base_model="tiny",
            recipe=RECIPE,
            questions=["Shelf 1?"],
        ).id


@pytest.fixture
def job(run_id: str, tiny_base: Path, row_files: tuple[Path, Path]) -> Callable[[Any], dict[str, Any]]:
    def source(asked: str, tenant_id: str, folder: Path) -> tuple[Path, Path]:
        assert (asked, tenant_id) == (run_id, "t")
        folder.mkdir(parents=True, exist_ok=True)
        train, held_out = (Path(shutil.copy(path, folder)) for path in row_files)
        return train, held_out

    return make_train_job(source, {"tiny": tiny_base}.__getitem__, told_to_be_the_same)


def curve(run_id: str) -> list[Point]:
    with unit_of_work() as uow:
        return service.points(uow, run_id, "t")


def samples(run_id: str) -> list[Sample]:
    with unit_of_work() as uow:
        return service.samples(uow, run_id, "t")


@pytest.mark.model
def test_pause_here_resume_elsewhere_and_read_the_curve_meanwhile(
    run_id: str,
    job: Callable[[Any], dict[str, Any]],
    make_context: Callable[..., Any],
    tiny_base: Path,
    row_files: tuple[Path, Path],
) -> None:
    params = {"run_id": run_id, "tenant_id": "t"}
    first = make_context(params, "here")
    first.stop, first.stop_after = "pause", 4
    with pytest.raises(BaseException, match="stopped"):
        job(first)
    assert first.checkpoints[-1] == {"step": 4}
    assert [point.step for point in curve(run_id)] == [1, 2, 3, 4]
    assert blobs().keys(f"adapters/{run_id}") == []

    second = make_context(params, "elsewhere")
    result = job(second)
    assert second.checkpoints[0] == {"step": 4}
    assert [point.step for point in curve(run_id)] == list(range(1, STEPS + 1))
    assert [(sample.step, sample.question) for sample in samples(run_id)] == [
        (5, "Shelf 1?"),
        (10, "Shelf 1?"),
    ]
    assert result["adapter_prefix"] == f"adapters/{run_id}" and result["steps"] == STEPS
    fields = {"adapter_prefix", "steps", "loss", "eval_loss", "seconds", "tokens", "provenance", "serving"}
    assert set(result) == fields
    assert result["serving"]["state"] == "same" and result["serving"]["tokens"] > 0
    names = [key.rsplit("/", 1)[1] for key in blobs().keys(f"adapters/{run_id}")]
    assert names == ["adapter_config.json", "adapter_model.safetensors"]
    origin = result["provenance"]
    stored = {name: blobs().read(f"adapters/{run_id}/{name}") for name in names}
    assert origin["files"] == {name: hashlib.sha256(data).hexdigest() for name, data in stored.items()}
    assert origin["base"] == base_digest(tiny_base) and origin["data"] == data_digest(*row_files)
    assert set(origin["versions"]) == {"python", "mbe-studio", "torch", "transformers", "trl", "peft"}
    assert (origin["train"]["rows"], origin["held_out"]["rows"]) == (20, 4)
    last = second.reports[-1]
    assert (last["done"], last["total"]) == (STEPS, STEPS) and last["metrics"]["loss"] > 0


@pytest.mark.model
def test_a_cancelled_training_leaves_no_adapter(
    run_id: str, job: Callable[[Any], dict[str, Any]], make_context: Callable[..., Any]
) -> None:
    context = make_context({"run_id": run_id, "tenant_id": "t"})
    context.stop, context.stop_after = "cancel", 2
    with pytest.raises(BaseException, match="stopped"):
        job(context)
    assert blobs().keys(f"adapters/{run_id}") == []


def test_a_worker_that_lost_its_job_cannot_touch_the_curve(
    run_id: str, make_context: Callable[..., Any]
) -> None:
    late, holder = make_context({}, "late"), make_context({}, "holder")
    with unit_of_work() as uow:
        service.add_points(uow, run_id, [Point(step=1, epoch=0.1, loss=1.0)])
    late.fenced = True
    monitor = JobMonitor(late, run_id)
    with pytest.raises(BaseException, match="stopped"):
        monitor.resumed(0)
    monitor.points([Point(step=1, epoch=0.1, loss=9.0)])
    with pytest.raises(BaseException, match="stopped"):
        monitor.flush()
    with pytest.raises(BaseException, match="stopped"):
        monitor.samples([Sample(step=1, number=0, question="Shelf 1?", answer="Late.")])
    assert curve(run_id) == [Point(step=1, epoch=0.1, loss=1.0)] and samples(run_id) == []
    successor = JobMonitor(holder, run_id)
    successor.points([Point(step=1, epoch=0.1, loss=2.0)])
    successor.saved(1)
    successor.samples([Sample(step=2, number=0, question="Shelf 1?", answer="Row 1.")])
    assert curve(run_id) == [Point(step=1, epoch=0.1, loss=2.0)]
    assert [sample.answer for sample in samples(run_id)] == ["Row 1."]
    JobMonitor(holder, run_id).resumed(1)
    assert samples(run_id) == []


def test_another_tenants_run_is_not_found(
    run_id: str, job: Callable[[Any], dict[str, Any]], make_context: Callable[..., Any]
) -> None:
    with pytest.raises(NotFound):
        job(make_context({"run_id": run_id, "tenant_id": "other"}))


def test_the_handler_can_be_registered_without_torch() -> None:
    code = "import sys, engine.training.tasks; sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).resolve().parents[3]).returncode == 0
    )
