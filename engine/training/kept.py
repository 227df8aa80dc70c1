"""The checkpoints of a run as people see them: which there are, and which of them is the best."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from engine.kit.blobs import BlobStore
from engine.training.checkpoints import Manifest, stored


class Kept(BaseModel):
    """A checkpoint that is kept in the object store.

    `eval_loss` (nats per answer token) was measured only at ends of epochs. `seconds` and `tokens` count
    from the beginning of the training; `size` is in bytes, 0 where it was not counted. `best` has the
    lowest held-out loss of those that are kept.
    """

    model_config = ConfigDict(frozen=True)

    step: int
    epoch: float | None
    eval_loss: float | None
    seconds: float
    tokens: int
    size: int
    newest: bool
    best: bool


def manifests(blobs: BlobStore, prefix: str, newest: int | None) -> list[Manifest]:
    """Return the manifests of one training below `prefix`, oldest first.

    `newest` is the step of its job's checkpoint; None where the job has several trainings. Those of another
    identity are left out: the base or the knowledge was changed, and it began anew.
    """
    found = sorted(stored(blobs, prefix), key=lambda one: one.step)
    if newest is None and found:
        newest = found[-1].step
    own = next((manifest.identity for manifest in found if manifest.step == newest), None)
    return [one for one in found if one.identity == own]


def listing(found: list[Manifest], epochs: Mapping[int, float]) -> list[Kept]:
    """Return what `manifests` found as people see it, newest first; `epochs` has those of the steps."""
    measured = [one for one in found if one.eval_loss is not None]
    best = min(measured, key=lambda one: (one.eval_loss, one.step)).step if measured else None
    return [
        Kept(
            step=one.step,
            epoch=epochs.get(one.step),
            newest=one is found[-1],
            best=one.step == best,
            **one.model_dump(include={"eval_loss", "seconds", "tokens", "size"}),
        )
        for one in reversed(found)
    ]
