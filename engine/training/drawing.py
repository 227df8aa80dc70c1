"""The curve of a run: what it says in words, and as a drawing that needs no library to be seen."""

import math
from collections.abc import Sequence
from html import escape

from engine.kit.messages import t
from engine.training.schemas import Point

Line = Sequence[tuple[int, float]]

WIDTH, HEIGHT = 840, 320
LEFT, RIGHT, TOP, BOTTOM = 56, 130, 12, 44
MOST_DRAWN = 600


def lines(points: Sequence[Point]) -> tuple[Line, Line]:
    """Return (step, loss) of training and of the held-out rows."""
    train = [(p.step, p.loss) for p in points if p.loss is not None]
    return train, [(p.step, p.eval_loss) for p in points if p.eval_loss is not None]


def curve_words(points: Sequence[Point], finished: bool, language: str) -> str:
    """Return what the curve says: a falling loss, or one that rises again on the held-out rows."""
    train, held_out = lines(points)
    if len(held_out) >= 3:
        best = min(held_out, key=lambda value: value[1])
        if held_out[-1][1] > best[1] * 1.1:
            return t("training.curve_overfits", language, step=best[0], best=_short(best[1]))
    values = held_out if len(held_out) >= 2 else train
    if len(values) < 2:
        return t("training.curve_begins", language)
    first, last = values[0][1], values[-1][1]
    key = "training.curve_falls" if last < first else "training.curve_flat"
    words = t(key, language, first=_short(first), last=_short(last), step=values[-1][0])
    return words if finished else t("training.curve_so_far", language, words=words)


def _short(loss: float) -> str:
    return f"{loss:#.3g}" if loss >= 0.001 else "<0.001"


def curve_svg(points: Sequence[Point], language: str) -> str:
    """Return loss and held-out loss by step as SVG; empty when nothing was measured."""
    train, held_out = lines(points)
    if not train and not held_out:
        return ""
    last = max(step for line in (train, held_out) for step, _ in line)
    top = _round_up(max(loss for line in (train, held_out) for _, loss in line))
    parts = [_axes(last, top, language)]
    ends: list[float] = []
    for line, key, style in ((train, "loss", "one"), (held_out, "eval_loss", "two")):
        if line:
            parts.append(_drawn(line, last, top, t(f"report.{key}", language), style, ends))
    label = escape(t("report.curve_label", language))
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )


def _round_up(value: float) -> float:
    """Return the next value that four steps of an axis come to without odd digits."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * step for step in (1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10) if power * step >= value)


def _x(step: float, last: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * step / max(1, last)


def _y(loss: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * loss / top


def _axes(last: int, top: float, language: str) -> str:
    parts = []
    for n in range(5):
        loss, step = top * n / 4, round(last * n / 4)
        y, x = _y(loss, top), _x(step, last)
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{loss:.3g}</text>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{step:,}</text>')
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    words = escape(t("report.axes", language))
    return f'{"".join(parts)}<text x="{middle:.0f}" y="{HEIGHT - 6}" text-anchor="middle">{words}</text>'


def _drawn(line: Line, last: int, top: float, name: str, style: str, ends: list[float]) -> str:
    """Return one line with its name at its end, moved off a name that stands there already."""
    every = math.ceil(len(line) / MOST_DRAWN)
    shown = [*line[:-1:every], line[-1]]
    path = " ".join(
        f"{'L' if n else 'M'}{_x(step, last):.1f} {_y(loss, top):.1f}" for n, (step, loss) in enumerate(shown)
    )
    end = _y(line[-1][1], top) + 4
    if any(abs(end - other) < 16 for other in ends):
        end = min(ends) - 16
    ends.append(end)
    x = _x(line[-1][0], last) + 8
    text = f'<text class="{style}" x="{x:.1f}" y="{end:.1f}">{escape(name)}</text>'
    return f'<path class="{style}" d="{path}"/>{text}'
