"""What a run shows beside its loss."""

from datetime import UTC, datetime

from engine.training.schemas import Point, RunView, Sample
from studio.views import runs as views


def measured(step: int, **more: object) -> Point:
    given = {"learning_rate": 1e-4 * step, "grad_norm": 2.0, "tokens_per_second": 1500.0, "memory": 3 << 29}
    return Point.model_validate({"step": step, "epoch": step / 10, "loss": 1.0, **given, **more})


def test_each_quantity_is_drawn_with_its_numbers_in_the_title() -> None:
    points = [measured(1), measured(2), Point(step=3, epoch=0.3, eval_loss=1.0)]
    figures = [figure for figure in views.course(points, "en") if figure is not None]
    assert [figure.layout.title.text for figure in figures] == [
        "Learning rate: 0.0002 now, 0.0002 at its peak",
        "Gradient norm: 2 now, 2 at its peak",
        "Tokens per second: 1,500 now, median 1,500",
        "Memory in GB: 1.5 now, 1.5 at its peak",
    ]
    assert all(list(figure.data[0].x) == [1, 2] for figure in figures)
    titles = [figure.layout.title.text for figure in views.course(points, "zh") if figure is not None]
    assert titles[2:] == ["每秒词元数：当前 1,500，中位数 1,500", "内存（GB）：当前 1.5，最高 1.5"]


def test_what_was_not_measured_is_not_drawn() -> None:
    assert not any(views.course([], "en"))
    drawn = [figure is not None for figure in views.course([measured(1, memory=None)], "en")]
    assert drawn == [False] * 3 + [True] * 3 + [False]
    rewards = {"margin": 0.5, "eval_margin": 0.25, "eval_accuracy": 0.75}
    titles = [f.layout.title.text for f in views.course([measured(1, **rewards)], "en")[:3] if f is not None]
    assert titles[0] == "Held-out pairs whose better answer gained more: 75% now"
    assert "0.25 now" in titles[1] and "0.5 now" in titles[2]
    [*_, memory] = views.course([measured(1, memory=80 << 20)], "en")
    assert memory is not None and "MB: 80 now" in memory.layout.title.text


def a_run(**changes: object) -> RunView:
    given: dict[str, object] = dict.fromkeys(RunView.model_fields)
    texts = ("id", "tenant_id", "owner_id", "name", "dataset_id", "base_model")
    given |= dict.fromkeys(texts, "x") | {"knowledge_base_ids": [], "questions": [], "recipe": {}}
    return RunView.model_validate({**given, "created_at": datetime.now(UTC), **changes})


def said(step: int, number: int, answer: str) -> Sample:
    return Sample(step=step, number=number, question="kept with the answer", answer=answer)


def test_answers_stand_by_step_the_latest_first_and_are_escaped() -> None:
    run = a_run(questions=["<b>Where</b>?", "几点？"])
    shown = views.samples(run, [said(5, 0, "Here"), said(1200, 0, "<img src=x>"), said(1200, 1, "")], "zh")
    assert "<b>Where" not in shown and "&lt;b&gt;Where&lt;/b&gt;?" in shown and "几点？" in shown
    rows = shown.split("<tbody>")[1].split("</tr>")
    assert rows[0] == "<tr><td>1,200</td><td>&lt;img src=x&gt;</td><td>–</td>"
    assert rows[1] == "<tr><td>5</td><td>Here</td><td>–</td>"
    assert "训练途中的回答" in shown


def test_without_questions_there_is_no_table_and_before_the_first_answers_it_says_when() -> None:
    assert views.samples(a_run(), [], "en") == ""
    assert "end of an epoch" in views.samples(a_run(questions=["Why?"]), [], "en")
    assert "<table" not in views.samples(a_run(questions=["Why?"]), [], "zh")
