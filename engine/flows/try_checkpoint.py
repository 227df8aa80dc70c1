"""Talking to a checkpoint of a training, while it goes or afterwards; nothing of it is billed."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

import anyio.to_thread

from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.flows import speak
from engine.flows.answer_request import AnswerPart, require_question, unpaid
from engine.flows.speak import Prompt, Speaker
from engine.flows.train_expert import speaker_of
from engine.inference.adapters import CONFIG, WEIGHTS, Exact
from engine.inference.base_model import resolve
from engine.inference.launch import choose_backend
from engine.jobs import service as jobs
from engine.kit.blobs import blobs
from engine.kit.database import unit_of_work
from engine.kit.errors import Conflict, NotFound
from engine.kit.prompts import Message
from engine.kit.settings import settings
from engine.training import kept
from engine.training import service as training
from engine.training.checkpoints import Manifest, base_digest, place
from engine.training.kept import Kept
from engine.training.schemas import RunView
from engine.training.tasks import checkpoint_prefix


def listing(person: Person, run_id: str) -> list[Kept]:
    """Return the checkpoints of a run that are kept, newest first. Raises NotFound."""
    _, found, epochs = _look_up(person, run_id)
    return kept.listing(found, epochs)


async def answer(
    person: Person, run_id: str, step: int, messages: Sequence[Message]
) -> AsyncGenerator[AnswerPart, None]:
    """Yield what the checkpoint of `step` answers, with the passages that its expert would be given.

    Raises BadInput without a question, NotFound when the checkpoint is not kept or the run is another
    tenant's, and Conflict when it was learnt on another base or is being written again.
    """
    require_question(messages)
    speaker, prompt = await anyio.to_thread.run_sync(_prepared, person, run_id, step, messages)
    parts = unpaid(speaker, prompt)
    try:
        async with aclosing(parts):
            async for part in parts:
                yield part
    except NotFound as error:  # a training goes on meanwhile, and drops what it does not need
        raise NotFound("training.no_checkpoint", field="step", step=step) from error
    except Conflict as error:
        raise Conflict("training.checkpoint_changed", field="step", step=step) from error


def _prepared(person: Person, run_id: str, step: int, messages: Sequence[Message]) -> tuple[Speaker, Prompt]:
    run, found, _ = _look_up(person, run_id)
    manifest = next((one for one in found if one.step == step), None)
    if manifest is None:
        raise NotFound("training.no_checkpoint", field="step", step=step)
    _require_base(run, manifest)
    adapter = Exact(
        prefix=place(checkpoint_prefix(run.id), step),
        config=manifest.files.get(CONFIG, ""),
        weights=manifest.files.get(WEIGHTS, ""),
    )
    speaker = replace(speaker_of(run), adapter=adapter)
    return speaker, speak.prompt_for(speaker, messages)


def _look_up(person: Person, run_id: str) -> tuple[RunView, list[Manifest], dict[int, float]]:
    """Return a run, the manifests of its checkpoints, and the epoch of each step that was measured."""
    require(person, "developer")
    with unit_of_work() as uow:
        run = training.get_run(uow, run_id, person.tenant_id)
        job = jobs.get(uow, run.job_id or "", person.tenant_id)
        epochs = {point.step: point.epoch for point in training.points(uow, run_id, person.tenant_id)}
    newest = None if run.search_id else (job.checkpoint or {}).get("step", 0)
    return run, kept.manifests(blobs(), checkpoint_prefix(run.id), newest), epochs


def _require_base(run: RunView, manifest: Manifest) -> None:
    """Raise Conflict when the model that is served here is not the one that was trained on."""
    same = run.base_model == settings().base_model
    if same and choose_backend() in ("vllm", "transformers"):
        same = base_digest(resolve(run.base_model)) == manifest.identity.base
    if not same:
        raise Conflict("training.checkpoint_of_other_base", field="step", name=run.base_model)
