"""A training done again in a folder of its own, without a job, and compared with the first by its weights."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engine.kit.blobs import BlobStore
from engine.training.checkpoints import CheckpointStore, Identity, base_digest, data_digest
from engine.training.recipe import LoraRecipe
from engine.training.schemas import Point, Sample

WEIGHTS = "adapter_model.safetensors"

Seen = Callable[[int, int], None]
"""Is told the steps done and all steps."""


@dataclass(frozen=True, kw_only=True)
class Repetition:
    """What a repeated training gave; `adapter` is the folder of its files."""

    adapter: Path
    loss: float
    eval_loss: float | None


class _Bystander:
    """A monitor that tells the progress on and never asks to stop."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def resumed(self, step: int) -> None: ...

    def points(self, new: Sequence[Point]) -> None: ...

    def samples(self, new: Sequence[Sample]) -> None: ...

    def saved(self, step: int) -> None: ...

    def progress(self, done: int, total: int, message: str, metrics: dict[str, Any]) -> None:
        self._seen(done, total)

    def stop_requested(self) -> Literal["pause", "cancel"] | None:
        return None


def train_again(
    recipe: LoraRecipe, base: Path, base_name: str, paths: tuple[Path, Path], folder: Path, seen: Seen
) -> Repetition:
    """Train on the rows in `paths` below `folder`, from the beginning. Raises as `run.train` does."""
    from engine.training.run import train

    _quiet()
    identity = Identity(data=data_digest(*paths), recipe=recipe.digest(), base=base_digest(base))
    outcome = train(
        base=base,
        base_name=base_name,
        train_path=paths[0],
        validation_path=paths[1],
        recipe=recipe,
        workdir=folder,
        store=CheckpointStore(folder / "trainer", BlobStore(str(folder / "blobs")), "again", identity),
        monitor=_Bystander(seen),
    )
    assert outcome.adapter is not None, "nobody asks this training to stop"
    return Repetition(adapter=outcome.adapter, loss=outcome.loss, eval_loss=outcome.eval_loss)


def _quiet() -> None:
    """Let the libraries draw no bars of their own beside the one of whoever watches."""
    import datasets
    from transformers.utils import logging

    datasets.disable_progress_bars()
    logging.disable_progress_bar()


def changed_surroundings(
    versions: Mapping[str, str], device: str | None, precision: str | None, threads: int | None
) -> list[tuple[str, str, str]]:
    """Return what this process would train with otherwise, as (what, then, now); unknown counts as the same.

    Call it after a training, which sets the number of threads.
    """
    from engine.training.run import surroundings

    here = surroundings()
    now = {**here.versions, "device": here.device, "precision": here.precision, "threads": str(here.threads)}
    then = {
        **versions,
        "device": device,
        "precision": precision,
        "threads": str(threads) if threads else None,
    }
    return [
        (name, value, now.get(name, "–"))
        for name, value in then.items()
        if value is not None and value != now.get(name)
    ]


def difference(one: Path, two: Path) -> float:
    """Return the largest difference between two files of adapter weights; infinite for other shapes."""
    import torch
    from safetensors.torch import load_file

    first, second = load_file(one), load_file(two)
    if {name: value.shape for name, value in first.items()} != {n: v.shape for n, v in second.items()}:
        return float("inf")
    apart = (torch.max(torch.abs(first[name].double() - second[name].double())) for name in first)
    return max((float(value) for value in apart), default=0.0)
