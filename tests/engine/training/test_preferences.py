import json
from pathlib import Path
from typing import Any

import pytest

from engine.kit.errors import BadInput
from engine.training.recipe import LoraRecipe
from tests.engine.training.bench import Bench, difference
from tests.engine.training.killed_training import RECIPES

pytestmark = pytest.mark.model

METHODS = ("dpo", "kto")


def write_preferences(path: Path, count: int) -> Path:
    """Write rows whose better answer names the shelf, whatever the question is."""
    rows = (
        {
            "messages": [
                {"role": "user", "content": f"Shelf {n}?" + " Please." * (n % 3) * 3},
                {"role": "assistant", "content": f"Row {n % 5}."},
            ],
            "rejected": f"No idea {n % 3}.",
        }
        for n in range(count)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def preferences(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("preferences")
    return write_preferences(folder / "train.jsonl", 16), write_preferences(folder / "held-out.jsonl", 6)


@pytest.fixture(scope="module", params=METHODS)
def whole(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    tiny_base: Path,
    preferences: tuple[Path, Path],
) -> tuple[str, Any, Any]:
    """The training that nobody interrupts."""
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, *Bench(folder, tiny_base, preferences, request.param).train("here")


@pytest.fixture
def bench(
    tmp_path: Path, tiny_base: Path, preferences: tuple[Path, Path], whole: tuple[str, Any, Any]
) -> Bench:
    return Bench(tmp_path, tiny_base, preferences, whole[0])


def test_what_was_preferred_becomes_likelier(whole: tuple[str, Any, Any]) -> None:
    method, outcome, watcher = whole
    measured = [point for _, point in sorted(watcher.curve.items()) if point.eval_loss is not None]
    assert len(measured) == RECIPES[method].epochs
    first, last = measured[0], measured[-1]
    assert last.eval_margin > first.eval_margin > 0 and last.margin > 0
    assert last.eval_loss < first.eval_loss and outcome.eval_loss == last.eval_loss
    # Single verdicts have no pairs to count.
    assert last.eval_accuracy == (1.0 if method == "dpo" else None)


def test_killed_and_paused_it_ends_the_same(bench: Bench, whole: tuple[str, Any, Any]) -> None:
    _, outcome, watched = whole
    bench.die("here", "step", 3)
    paused, _ = bench.train("elsewhere", stop_after=outcome.steps - 3)
    assert paused.stopped == "pause"
    again, watcher = bench.train("third")
    assert watcher.begun == outcome.steps - 3
    assert difference(again.adapter, outcome.adapter) == 0.0
    assert [watcher.curve[n].loss for n in sorted(watcher.curve)] == [
        watched.curve[n].loss for n in sorted(watcher.curve)
    ]
    assert (again.loss, again.eval_loss, again.tokens) == (outcome.loss, outcome.eval_loss, outcome.tokens)


@pytest.mark.parametrize("method", METHODS)
def test_rows_that_do_not_fit_are_refused_in_words(
    method: str, tmp_path: Path, tiny_base: Path, preferences: tuple[Path, Path]
) -> None:
    rows = [json.loads(line) for line in preferences[0].read_text().splitlines()]
    for row in rows:
        row["messages"][0]["content"] = "x" * 200
    (tmp_path / "long.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    bench = Bench(tmp_path, tiny_base, (tmp_path / "long.jsonl", preferences[1]), method)
    with pytest.raises(BadInput) as caught:
        bench.train("here", LoraRecipe(method=method, rank=2, epochs=1, max_length=64))
    assert caught.value.key == "training.no_rows"


@pytest.mark.parametrize("method", METHODS)
def test_held_out_rows_that_do_not_fit_are_not_measured(
    method: str, tmp_path: Path, tiny_base: Path, preferences: tuple[Path, Path]
) -> None:
    row = json.loads(preferences[0].read_text().splitlines()[0])
    row["messages"][0]["content"] = "x" * 200
    (tmp_path / "long.jsonl").write_text(json.dumps(row) + "\n")
    bench = Bench(tmp_path, tiny_base, (preferences[0], tmp_path / "long.jsonl"), method)
    outcome, _ = bench.train("here", LoraRecipe(method=method, rank=2, epochs=1, max_length=64))
    assert outcome.adapter is not None and outcome.eval_loss is None


def test_good_and_bad_answers_count_the_same_together() -> None:
    from datasets import Dataset

    from engine.training.preferences import weights

    assert weights(Dataset.from_list([{"label": n < 3} for n in range(12)])) == (3.0, 1.0)
    assert weights(Dataset.from_list([{"label": n < 9} for n in range(12)])) == (1.0, 3.0)
    assert weights(Dataset.from_list([{"label": True}])) == (1.0, 1.0)
