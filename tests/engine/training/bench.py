"""Trains the same rows again and again, in this process or in one that dies."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from engine.kit.blobs import BlobStore
from engine.training.recipe import LoraRecipe
from tests.engine.training.killed_training import IDENTITY, RECIPES, Watcher

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[2]


class Bench:
    """Trains the same rows again and again, on machines that share one object store."""

    def __init__(self, folder: Path, base: Path, rows: tuple[Path, Path], method: str = "sft") -> None:
        self.folder, self.base, self.rows, self.method = folder, base, rows, method

    def store(self, machine: str) -> Any:
        from engine.training.checkpoints import CheckpointStore

        blobs = BlobStore((self.folder / "blobs").as_uri())
        return CheckpointStore(self.folder / machine / "trainer", blobs, "checkpoints/r", IDENTITY)

    def train(
        self,
        machine: str,
        recipe: LoraRecipe | None = None,
        questions: dict[str, list[dict[str, str]]] | None = None,
        **wishes: Any,
    ) -> tuple[Any, Any]:
        from engine.training.run import train

        watcher = Watcher(**wishes)
        outcome = train(
            base=self.base,
            base_name="tiny",
            train_path=self.rows[0],
            validation_path=self.rows[1],
            recipe=recipe or RECIPES[self.method],
            workdir=self.folder / machine,
            store=self.store(machine),
            monitor=watcher,
            questions=questions,
        )
        return outcome, watcher

    def die(self, machine: str, where: str, number: int) -> None:
        command = [sys.executable, HERE / "killed_training.py", self.folder / machine, self.base, *self.rows]
        ended = subprocess.run(
            [*map(str, command), self.method, where, str(number)],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            timeout=200,
        )
        assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()[-2000:]


def difference(one: Path, two: Path) -> float:
    """Return the largest absolute difference between two adapters."""
    from safetensors.torch import load_file

    first, second = (load_file(folder / "adapter_model.safetensors") for folder in (one, two))
    assert first.keys() == second.keys() and first
    return max(float((first[name] - second[name]).abs().max()) for name in first)
