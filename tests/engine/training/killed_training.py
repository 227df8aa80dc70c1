"""Trains until it kills itself: `killed_training.py FOLDER BASE TRAIN VALIDATION METHOD WHERE NUMBER`.

WHERE is "step" (after that step) or "put" (in the middle of that write to the object store).
"""

import io
import os
import signal
import sys
from pathlib import Path
from typing import Any

from engine.kit.blobs import BlobInfo, BlobStore
from engine.training.checkpoints import CheckpointStore, Identity
from engine.training.recipe import LoraRecipe
from engine.training.run import train
from engine.training.schemas import Point

IDENTITY = Identity(data="d" * 64, recipe="r" * 64, base="b" * 64)
RECIPE = LoraRecipe(rank=4, alpha=16, dropout=0.1, epochs=3, batch_size=4, learning_rate=0.05, save_steps=2)
PREFERENCE = {"dropout": 0.0, "learning_rate": 0.005, "accumulation": 2, "epochs": 4}
RECIPES = {
    "sft": RECIPE,
    "dpo": RECIPE.changed({**PREFERENCE, "method": "dpo"}),
    "kto": RECIPE.changed({**PREFERENCE, "method": "kto"}),
}


class Watcher:
    """A monitor that remembers everything, and may ask for a stop or run something after a step."""

    def __init__(self, *, stop_after: int = 10**9, stop: Any = "pause", after_step: Any = None) -> None:
        self.stop_after, self.stop, self.after_step = stop_after, stop, after_step
        self.begun = self.done = 0
        self.curve: dict[int, Point] = {}
        self.kept: list[int] = []
        self.said: list[Any] = []
        self.metrics: dict[str, Any] = {}

    def resumed(self, step: int) -> None:
        self.begun = self.done = step

    def points(self, new: Any) -> None:
        self.curve |= {point.step: point for point in new}

    def samples(self, new: Any) -> None:
        self.said += new

    def progress(self, done: int, total: int, message: str, metrics: dict[str, Any]) -> None:
        self.done, self.total, self.message, self.metrics = done, total, message, metrics
        if self.after_step:
            self.after_step(done)

    def saved(self, step: int) -> None:
        self.kept.append(step)

    def stop_requested(self) -> Any:
        return self.stop if self.done + 1 >= self.stop_after else None


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class DeadlySource(io.BytesIO):
    """Kills the process that reads on after the first piece."""

    def read(self, size: int | None = -1, /) -> bytes:
        if not (piece := super().read(size)):
            kill()
        return piece


class DeadlyStore(BlobStore):
    """Kills the process with a write half done."""

    left = 10**9

    def put(self, key: str, source: Any) -> BlobInfo:
        self.left -= 1
        return super().put(key, DeadlySource(b"half") if self.left <= 0 else source)


def main(folder: Path, base: Path, rows: tuple[Path, Path], method: str, where: str, number: int) -> None:
    blobs = DeadlyStore((folder.parent / "blobs").as_uri())
    if where == "put":
        blobs.left = number
    train(
        base=base,
        base_name="tiny",
        train_path=rows[0],
        validation_path=rows[1],
        recipe=RECIPES[method],
        workdir=folder,
        store=CheckpointStore(folder / "trainer", blobs, "checkpoints/r", IDENTITY),
        monitor=Watcher(after_step=lambda done: kill() if where == "step" and done == number else None),
    )


if __name__ == "__main__":
    _, folder, base, train_path, validation_path, method, where, number = sys.argv
    main(Path(folder), Path(base), (Path(train_path), Path(validation_path)), method, where, int(number))
