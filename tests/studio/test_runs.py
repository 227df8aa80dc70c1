"""What a run shows beside its loss."""

from engine.training.schemas import Point
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
        "Tokens per second: 1,500 now, 1,500 in the middle",
        "Memory in GB: 1.5 now, 1.5 at its peak",
    ]
    assert all(list(figure.data[0].x) == [1, 2] for figure in figures)
    titles = [figure.layout.title.text for figure in views.course(points, "zh") if figure is not None]
    assert titles[2:] == ["每秒词元数：当前 1,500，中位数 1,500", "内存（GB）：当前 1.5，最高 1.5"]


def test_what_was_not_measured_is_not_drawn() -> None:
    assert views.course([], "en") == [None] * 4
    assert [figure is None for figure in views.course([measured(1, memory=None)], "en")] == [False] * 3 + [
        True
    ]
    [*_, memory] = views.course([measured(1, memory=80 << 20)], "en")
    assert memory is not None and "MB: 80 now" in memory.layout.title.text
