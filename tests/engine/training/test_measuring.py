import json
from pathlib import Path
from typing import Any

import pytest

from engine.kit.errors import BadInput
from tests.engine.training.bench import Bench
from tests.engine.training.conftest import FakeContext, Stopped

pytestmark = pytest.mark.model


@pytest.fixture
def context(tmp_path: Path) -> FakeContext:
    return FakeContext({}, tmp_path / "work")


def measured(base: Path, rows: Path, context: FakeContext, **changes: Any) -> Any:
    from engine.training.measuring import measure

    given = {"max_length": 256, "folder": context.workdir, "questions": {}, **changes}
    return measure(base, rows, ctx=context, **given)


def test_a_prompt_is_measured_as_a_training_is(
    tmp_path: Path, tiny_base: Path, row_files: tuple[Path, Path], context: FakeContext
) -> None:
    from engine.training.recipe import LoraRecipe

    # A training that hardly moves ends with the held-out loss of its base model.
    still = LoraRecipe(rank=1, epochs=1, learning_rate=1e-6, batch_size=8, max_length=256)
    trained, _ = Bench(tmp_path, tiny_base, row_files).train("here", still)
    found = measured(tiny_base, row_files[1], context)
    assert found.loss == pytest.approx(trained.eval_loss, rel=1e-3)
    assert found.tokens > 0 and context.reports[-1]["done"] == context.reports[-1]["total"]


def test_another_prompt_gives_another_figure_and_answers(
    tmp_path: Path, tiny_base: Path, row_files: tuple[Path, Path], context: FakeContext
) -> None:
    rows = [json.loads(line) for line in row_files[1].read_text().splitlines()]
    for row in rows:
        row["messages"].insert(0, {"role": "system", "content": "Be brief."})
    path = tmp_path / "prompted.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    plain = measured(tiny_base, row_files[1], context)
    asked = {"Where?": [{"role": "user", "content": "Where?"}]}
    found = measured(tiny_base, path, context, questions=asked)
    assert found.loss != plain.loss and found.tokens > plain.tokens
    assert [(sample.step, sample.question) for sample in found.samples] == [(0, "Where?")]


def test_of_several_answers_only_the_last_counts_where_that_is_asked(
    tmp_path: Path, tiny_base: Path, context: FakeContext
) -> None:
    turns = [{"role": role, "content": f"{role} {n}"} for n in range(2) for role in ("user", "assistant")]
    (tmp_path / "two.jsonl").write_text(json.dumps({"messages": turns}) + "\n")
    whole = measured(tiny_base, tmp_path / "two.jsonl", context)
    last = measured(tiny_base, tmp_path / "two.jsonl", context, last_only=True)
    assert last.tokens < whole.tokens and last.loss != whole.loss


def test_it_stops_when_asked(tiny_base: Path, row_files: tuple[Path, Path], context: FakeContext) -> None:
    context.stop, context.stop_after = "cancel", 0
    with pytest.raises(Stopped):
        measured(tiny_base, row_files[1], context)


def test_without_rows_that_fit_it_says_what_to_change(
    tmp_path: Path, tiny_base: Path, row_files: tuple[Path, Path], context: FakeContext
) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    with pytest.raises(BadInput) as caught:
        measured(tiny_base, empty, context)
    assert caught.value.key == "training.nothing_held_out"
    turns = [{"role": "user", "content": "x" * 200}, {"role": "assistant", "content": "Yes."}]
    (tmp_path / "long.jsonl").write_text(json.dumps({"messages": turns}) + "\n")
    with pytest.raises(BadInput) as caught:
        measured(tiny_base, tmp_path / "long.jsonl", context, max_length=64)
    assert caught.value.field == "max_length"
