"""The checkpoints of a training in words."""

from collections.abc import Sequence

from engine.kit.messages import t
from engine.training.kept import Kept


def words(kept: Kept, language: str) -> str:
    """Return one checkpoint in a line: step, epoch, held-out loss, and what sets it apart."""
    parts = [t("studio.checkpoint_step", language, step=f"{kept.step:,}")]
    if kept.epoch is not None:
        parts.append(t("studio.checkpoint_epoch", language, epoch=f"{round(kept.epoch, 2):g}"))
    if kept.eval_loss is not None:
        parts.append(t("studio.checkpoint_loss", language, loss=f"{kept.eval_loss:.3f}"))
    parts += [t("studio.checkpoint_best", language)] if kept.best else []
    parts += [t("studio.checkpoint_newest", language)] if kept.newest else []
    return " · ".join(parts)


def choices(found: Sequence[Kept], chosen: int | None, language: str) -> list[tuple[str, int]]:
    """Return (words, step) of each; one that was chosen stays there when it is not kept any more."""
    offered = [(words(kept, language), kept.step) for kept in found]
    if chosen is not None and chosen not in [kept.step for kept in found]:
        gone = t("studio.checkpoint_step", language, step=f"{chosen:,}")
        offered.append((f"{gone} · {t('studio.checkpoint_gone', language)}", chosen))
    return offered


def first_choice(found: Sequence[Kept]) -> int | None:
    """Return the step of the best, else of the newest; None while there is no checkpoint."""
    ranked = sorted(found, key=lambda kept: (kept.best, kept.newest), reverse=True)
    return ranked[0].step if ranked else None
