"""Does a search until it kills itself: `killed_search.py SEARCH_ID BASE TRAIN VALIDATION WORKDIR WRITES`.

WRITES is the number of checkpoints of the job, any number of them in a trial, after which the process ends.
The database and the object store are those of the environment.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from engine.kit.database import unit_of_work
from engine.training import searches
from engine.training.recipe import LoraRecipe
from engine.training.schemas import Probe, SearchView, Serving
from engine.training.search import SearchSpace
from engine.training.search_job import make_search_job

RECIPE = LoraRecipe(rank=4, alpha=8, epochs=2, batch_size=4, learning_rate=1e-2, save_steps=2)
SPACE = SearchSpace(rank=(2, 4), learning_rate=(3e-3, 3e-2), epochs=(1, 3), trials=4)


class Context:
    """A job in memory that says "stop" or dies after so many writes."""

    def __init__(self, search_id: str, workdir: Path, *, writes: int = 10**9, dies: bool = False) -> None:
        self.params = {"search_id": search_id, "tenant_id": "t"}
        self.workdir, self.left, self.dies = workdir, writes, dies
        self.stop: Any = "pause"
        self.reports: list[dict[str, Any]] = []
        self.checkpoints: list[dict[str, Any]] = []
        workdir.mkdir(parents=True, exist_ok=True)

    def report(self, **values: Any) -> None:
        self.reports.append(values)

    def save_checkpoint(self, checkpoint: dict[str, Any], *, uow: Any = None) -> None:
        self.checkpoints.append(checkpoint)
        self.left -= 1
        if self.dies and self.left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def stop_requested(self) -> Any:
        return self.stop if self.left <= 0 else None

    def check_stop(self) -> None:
        if self.stop_requested():
            raise Stopped("stopped")


class Stopped(BaseException):
    """What this context raises where the real one raises StopJob."""


def prove(_ctx: Any, prefix: str, precision: str, probes: list[Probe]) -> Serving:
    assert precision == "float32" and probes and prefix.startswith("adapters/")
    return Serving(state="same", tokens=sum(len(probe.logprobs) for probe in probes))


def begin(space: SearchSpace = SPACE, recipe: LoraRecipe = RECIPE, **more: Any) -> SearchView:
    """Enter a search of the tenant "t"."""
    given = {"person_id": "p", "tenant_id": "t", "name": "Shop", "dataset_id": "ds", "held_out_rows": 4}
    with unit_of_work() as uow:
        return searches.create(uow, base_model="tiny", recipe=recipe, space=space, **{**given, **more})


def do(context: Context, base: Path, rows: tuple[Path, Path]) -> dict[str, Any]:
    """Carry the search out, or go on with it."""
    return make_search_job(lambda _search, _folder: rows, {"tiny": base}.__getitem__, prove)(context)


if __name__ == "__main__":
    _, search_id, base, train, validation, workdir, writes = sys.argv
    context = Context(search_id, Path(workdir), writes=int(writes), dies=True)
    do(context, Path(base), (Path(train), Path(validation)))
