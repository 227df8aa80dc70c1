import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from engine.kit.errors import BadInput
from engine.training.recipe import LoraRecipe
from tests.engine.training.bench import Bench, difference

pytestmark = pytest.mark.model

STEPS = 15


@pytest.fixture
def bench(tmp_path: Path, tiny_base: Path, row_files: tuple[Path, Path]) -> Bench:
    return Bench(tmp_path, tiny_base, row_files)


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_base: Path,
    row_files: tuple[Path, Path],
) -> tuple[Any, Any]:
    """The training that nobody interrupts."""
    return Bench(tmp_path_factory.mktemp("whole"), tiny_base, row_files).train("here")


def test_the_loss_goes_down_and_everything_is_reported(whole: tuple[Any, Any]) -> None:
    outcome, watcher = whole
    assert outcome.steps == STEPS and outcome.stopped is None
    curve = [watcher.curve[step] for step in range(1, STEPS + 1)]
    assert outcome.loss < curve[0].loss * 0.8
    assert [point.step for point in curve if point.eval_loss is not None] == [5, 10, 15]
    assert outcome.eval_loss == curve[-1].eval_loss < curve[4].eval_loss
    assert all(point.grad_norm > 0 and point.tokens_per_second > 0 for point in curve)
    assert all(1 << 20 < point.memory < 1 << 40 for point in curve)
    assert curve[-1].learning_rate < curve[4].learning_rate <= 0.05
    assert watcher.message == "step 15/15" and watcher.metrics["seconds_left"] == 0
    assert watcher.kept == [2, 4, 6, 8, 10, 12, 14, 15]
    assert outcome.tokens > 0 and outcome.seconds > 0


def test_the_adapter_is_safetensors_and_names_no_folder(whole: tuple[Any, Any], tiny_base: Path) -> None:
    adapter = whole[0].adapter
    assert {path.name for path in adapter.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    text = (adapter / "adapter_config.json").read_text()
    assert json.loads(text)["base_model_name_or_path"] == "tiny" and str(tiny_base) not in text


def test_only_those_parts_are_adapted_that_the_model_names(bench: Bench, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    part = "model.layers.1.mlp.down_proj"
    named = Path(shutil.copytree(bench.base, tmp_path / "named"))
    config = json.loads((named / "config.json").read_text())
    (named / "config.json").write_text(json.dumps(config | {"lora_modules": [part]}))
    bench.base = named
    outcome, _ = bench.train("here", LoraRecipe(rank=2, epochs=1))
    names = load_file(outcome.adapter / "adapter_model.safetensors").keys()
    assert len(names) == 2 and all(f".{part}.lora_" in name for name in names)


@pytest.mark.parametrize("step", [3, 5, 14])
def test_a_paused_training_continues_exactly_on_another_machine(
    bench: Bench, whole: tuple[Any, Any], step: int
) -> None:
    first, _ = bench.train("here", stop_after=step)
    assert first.stopped == "pause" and first.steps == step and first.adapter is None
    second, watcher = bench.train("elsewhere")
    assert watcher.begun == step and min(watcher.curve) == step + 1
    assert difference(second.adapter, whole[0].adapter) == 0.0
    assert [watcher.curve[n].loss for n in sorted(watcher.curve)] == [
        whole[1].curve[n].loss for n in range(step + 1, STEPS + 1)
    ]
    assert (second.loss, second.eval_loss, second.tokens) == (
        whole[0].loss,
        whole[0].eval_loss,
        whole[0].tokens,
    )


def test_questions_are_answered_on_the_way_and_change_nothing(bench: Bench, whole: tuple[Any, Any]) -> None:
    questions = {asked: [{"role": "user", "content": asked}] for asked in ("Shelf 3?", "架子" * 250)}
    first, watcher = bench.train("here", questions=questions, stop_after=7)
    assert first.stopped == "pause" and [(s.step, s.number) for s in watcher.said] == [(5, 0), (5, 1)]
    second, watcher = bench.train("elsewhere", questions=questions)
    assert [(s.step, s.question) for s in watcher.said] == [(n, q) for n in (10, 15) for q in questions]
    assert "Row" in watcher.said[-2].answer
    assert difference(second.adapter, whole[0].adapter) == 0.0
    assert (second.loss, second.eval_loss, second.tokens) == (
        whole[0].loss,
        whole[0].eval_loss,
        whole[0].tokens,
    )
    names = ("adapter_config.json", "adapter_model.safetensors")
    assert all((second.adapter / n).read_bytes() == (whole[0].adapter / n).read_bytes() for n in names)


def test_killed_in_a_step_and_again_while_saving_it_still_ends_the_same(
    bench: Bench, whole: tuple[Any, Any]
) -> None:
    bench.die("here", "step", 7)
    assert bench.store("here").newest().step == 6
    # Each checkpoint takes seven writes; the tenth falls into the files of step 10.
    bench.die("here", "put", 10)
    assert bench.store("elsewhere").newest().step == 8
    third, watcher = bench.train("third")
    assert watcher.begun == 8
    assert difference(third.adapter, whole[0].adapter) == 0.0


def test_a_finished_training_that_lost_its_adapter_writes_it_again(
    bench: Bench, whole: tuple[Any, Any]
) -> None:
    bench.train("here")
    again, watcher = bench.train("elsewhere")
    assert watcher.begun == STEPS and watcher.curve == {}
    assert difference(again.adapter, whole[0].adapter) == 0.0
    assert (again.loss, again.eval_loss) == (whole[0].loss, whole[0].eval_loss)


def test_a_loss_that_is_no_number_ends_the_training_and_keeps_the_last_checkpoint(
    bench: Bench, whole: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from trl import SFTTrainer

    from engine.training.callbacks import Diverged

    real = SFTTrainer.training_step

    def poisoned(self: Any, *args: Any, **kwargs: Any) -> Any:
        loss = real(self, *args, **kwargs)
        return loss * float("nan") if self.state.global_step == 6 else loss

    with monkeypatch.context() as patch:
        patch.setattr(SFTTrainer, "training_step", poisoned)
        with pytest.raises(Diverged) as caught:
            bench.train("here")
    assert caught.value.facts == {"step": 7, "kept": 6, "rate": "0.05"}
    assert bench.store("elsewhere").newest().step == 6
    second, _ = bench.train("elsewhere")
    assert difference(second.adapter, whole[0].adapter) == 0.0


def test_one_row_without_validation_is_enough(bench: Bench, tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Yes."}]
    (tmp_path / "train.jsonl").write_text(json.dumps({"messages": turns}) + "\n")
    (tmp_path / "validation.jsonl").write_text("")
    bench.rows = (tmp_path / "train.jsonl", tmp_path / "validation.jsonl")
    outcome, watcher = bench.train("here", LoraRecipe(rank=2, epochs=2, save_seconds=3600))
    assert outcome.steps == 2 and outcome.eval_loss is None and watcher.kept == [2]


def test_rows_that_do_not_fit_are_refused_in_words(bench: Bench, tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "x" * 200}, {"role": "assistant", "content": "Yes."}]
    (tmp_path / "long.jsonl").write_text(json.dumps({"messages": turns}) + "\n")
    bench.rows = (tmp_path / "long.jsonl", tmp_path / "long.jsonl")
    with pytest.raises(BadInput) as caught:
        bench.train("here", LoraRecipe(rank=2, epochs=1, max_length=64))
    assert caught.value.key == "training.no_rows"


def test_a_full_disk_says_so_keeps_the_last_checkpoint_and_costs_nothing(
    bench: Bench, whole: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.training import checkpoints
    from engine.training.failures import DiskFull

    write = checkpoints._write_by_rename

    def write_until_full(path: Path, text: bytes) -> None:
        if path.parent.name == "checkpoint-6":
            Path("/dev/full").write_bytes(text)
        write(path, text)

    monkeypatch.setattr(checkpoints, "_write_by_rename", write_until_full)
    with pytest.raises(DiskFull) as caught:
        bench.train("here")
    assert caught.value.facts["kept"] == 4 and bench.store("here").newest().step == 4
    monkeypatch.undo()
    outcome, watcher = bench.train("here")
    assert watcher.begun == 4 and difference(outcome.adapter, whole[0].adapter) == 0.0


def test_a_lack_of_memory_says_what_to_change(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from engine.training.failures import OutOfMemory
    from engine.training.trainer import AnswerTrainer

    step = AnswerTrainer.training_step

    def greedy(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step == 3:
            torch.empty(10**15)
        return step(self, *args, **kwargs)

    monkeypatch.setattr(AnswerTrainer, "training_step", greedy)
    with pytest.raises(OutOfMemory) as caught:
        bench.train("here")
    assert caught.value.field == "batch_size" and caught.value.facts["kept"] == 2
    assert "smaller than" in caught.value.message("en") and bench.store("here").newest().step == 2
