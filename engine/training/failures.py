"""Why a training broke off, in words that say what to change."""

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from engine.kit.errors import EngineError
from engine.training.recipe import LoraRecipe

FULL = 2**20
"""Bytes: with less than this left, whatever failed did so for want of room."""
_MEMORY_WORDS = ("out of memory", "can't allocate memory", "not enough memory")


class OutOfMemory(EngineError):
    """The machine or its device has no memory for the next step."""

    status = 507


class DiskFull(EngineError):
    """A checkpoint could not be written; those before it are whole."""

    status = 507


@contextmanager
def explained(recipe: LoraRecipe, folder: Path, kept_step: Callable[[], int]) -> Iterator[None]:
    """Raise OutOfMemory or DiskFull for what libraries raise when memory or the disk of `folder` is full.

    `kept_step` tells the step of the newest whole checkpoint.
    """
    try:
        yield
    except EngineError:
        raise
    except Exception as error:
        if _no_memory(error):
            raise OutOfMemory(
                "training.out_of_memory",
                field="batch_size",
                kept=kept_step(),
                batch_size=recipe.batch_size,
                max_length=recipe.max_length,
            ) from error
        if _no_room(error, folder):
            raise DiskFull("training.disk_full", kept=kept_step()) from error
        raise


def _no_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and any(each in words for each in _MEMORY_WORDS)


def _no_room(error: Exception, folder: Path) -> bool:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    # Writers in other languages say it in words of their own, or not at all.
    return "no space left" in str(error).lower() or shutil.disk_usage(folder).free < FULL
