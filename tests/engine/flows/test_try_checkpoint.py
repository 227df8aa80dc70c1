"""Talking to checkpoints: what is refused, what is put in front, and that the one that is asked answers."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from engine.accounts.schemas import Person
from engine.billing import service as billing
from engine.flows import import_dataset, prepare_knowledge, train_expert, try_checkpoint
from engine.flows.answer_request import AnswerPart
from engine.inference import base_model, pool
from engine.inference.client import ModelClient
from engine.jobs.models import Job
from engine.kit.blobs import blobs
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, Conflict, Forbidden, NotFound
from engine.kit.prompts import Message
from engine.kit.settings import REPOSITORY, settings
from engine.training.checkpoints import MANIFEST, CheckpointStore, Identity, Manifest, place
from engine.training.schemas import RunView
from engine.training.tasks import checkpoint_prefix
from tests.support import make_person, run_queued_jobs

IDENTITY = Identity(data="d", recipe="r", base="b")
QUESTION = "On which shelf are the tents?"


def import_rows(person: Person) -> str:
    rows = "\n".join(json.dumps({"question": f"Shelf {n}?", "answer": f"Row {n % 5}."}) for n in range(24))
    source = BytesIO(rows.encode())
    return import_dataset.import_file(person, name="Talks", filename="t.jsonl", source=source).id


def start(person: Person, **given: Any) -> RunView:
    dataset_id = import_rows(person)
    return train_expert.start(person, name="Shelves", dataset_id=dataset_id, preset="quick", **given)[0]


def write(run: RunView, step: int, folder: Path, eval_loss: float | None = None) -> None:
    """Leave a checkpoint as a training does, with files that no server reads."""
    store = CheckpointStore(folder, blobs(), checkpoint_prefix(run.id), IDENTITY)
    store.local(step).mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (store.local(step) / name).write_text(f"{name} of {step}")
    store.seal(step, eval_loss=eval_loss, seconds=1.0, tokens=10)
    with unit_of_work() as uow:
        job = uow.get(Job, run.job_id)
        assert job is not None
        job.checkpoint = {"step": step}


def ask(person: Person, run_id: str, step: int, *said: str) -> list[AnswerPart]:
    roles = ("user", "assistant")
    messages = [Message(role=roles[n % 2], content=words) for n, words in enumerate(said)]

    async def collect() -> list[AnswerPart]:
        return [part async for part in try_checkpoint.answer(person, run_id, step, messages)]

    return asyncio.run(collect())


def text_of(parts: list[AnswerPart]) -> str:
    return "".join(part.text for part in parts)


def test_a_checkpoint_answers_with_the_knowledge_of_its_expert_and_nobody_pays(
    dana: Person, model: None, tmp_path: Path
) -> None:
    base = prepare_knowledge.create_base(dana, name="Shop", language="en")
    prepare_knowledge.add_document(dana, base.id, "shop.md", b"# Tents\n\nThe tents are on shelf nine.")
    prepare_knowledge.start(dana, base.id)
    run_queued_jobs()
    run = start(dana, knowledge_base_ids=[base.id])
    assert try_checkpoint.listing(dana, run.id) == []
    write(run, 3, tmp_path / "work", eval_loss=1.5)
    write(run, 7, tmp_path / "work")
    assert [(one.step, one.best) for one in try_checkpoint.listing(dana, run.id)] == [(7, False), (3, True)]
    parts = ask(dana, run.id, 3, QUESTION)
    assert [parts[0].kind, parts[-1].kind] == ["passages", "done"]
    assert [passage.document_name for passage in parts[0].passages] == ["shop.md"]
    assert text_of(parts) == "The tents are on shelf nine."
    assert parts[-1].usage and parts[-1].receipt is None
    with unit_of_work() as uow:
        assert billing.receipts(uow, dana.tenant_id) == []


def test_what_cannot_be_answered_is_refused_by_name(dana: Person, model: None, tmp_path: Path) -> None:
    run = start(dana)
    write(run, 3, tmp_path / "work")
    for said in ((), ("",), (" \n",), ("Hello?", "Yes.")):
        with pytest.raises(BadInput) as refused:
            ask(dana, run.id, 3, *said)
        assert refused.value.field == "messages"
    for step in (4, 0, -1, 10**30):
        with pytest.raises(NotFound) as gone:
            ask(dana, run.id, step, QUESTION)
        assert gone.value.key == "training.no_checkpoint"
    with pytest.raises(NotFound, match="no such training"):
        ask(dana, "run_none", 3, QUESTION)
    blobs().delete(place(checkpoint_prefix(run.id), 3))
    with pytest.raises(NotFound):
        ask(dana, run.id, 3, QUESTION)


def test_somebody_elses_checkpoints_are_not_found(dana: Person, model: None, tmp_path: Path) -> None:
    run = start(dana)
    write(run, 3, tmp_path / "work")
    rival, reader = make_person("rival@example.com", "developer"), make_person("c@example.com", "consumer")
    for refusal, person in ((NotFound, rival), (Forbidden, reader)):
        with pytest.raises(refusal):
            try_checkpoint.listing(person, run.id)
        with pytest.raises(refusal):
            ask(person, run.id, 3, QUESTION)


def test_a_checkpoint_of_another_base_than_is_served_is_refused(
    dana: Person, model: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start(dana)
    write(run, 3, tmp_path / "work")
    assert ask(dana, run.id, 3, QUESTION)
    monkeypatch.setenv("MBE_INFERENCE", "transformers")  # it serves the starter, whose digest is not "b"
    settings.cache_clear()
    with pytest.raises(Conflict, match="another base model"):
        ask(dana, run.id, 3, QUESTION)
    monkeypatch.setenv("MBE_INFERENCE", "fake")
    monkeypatch.setenv("MBE_BASE_MODEL", "org/another")
    settings.cache_clear()
    with pytest.raises(Conflict, match="starter"):
        ask(dana, run.id, 3, QUESTION)


@pytest.fixture
def served(db: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelClient]:
    """The starter, really served by the server for machines without vLLM."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    monkeypatch.setenv("MBE_INFERENCE", "transformers")
    monkeypatch.setenv("MBE_INFERENCE_PORT", port)
    settings.cache_clear()
    pool.pool.cache_clear()
    starter = str(base_model.resolve("starter"))
    command = [sys.executable, "-m", "engine.inference.fallback", "--model", starter, "--port", port]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=REPOSITORY, env=environment)
    client = ModelClient(settings().model_url)
    try:
        deadline = time.monotonic() + 400
        while not asyncio.run(client.probe("base")):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.3)
        yield client
    finally:
        process.terminate()
        try:
            process.wait(10)
        finally:
            process.kill()
        pool.pool.cache_clear()


def peft_alone(folder: Path) -> str:
    """Return the greedy answer of an adapter without any server."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = base_model.resolve("starter")
    tokenizer: Any = AutoTokenizer.from_pretrained(base)
    loaded: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    adapted: Any = PeftModel.from_pretrained(loaded, str(folder))
    batch = tokenizer.apply_chat_template(
        [{"role": "user", "content": QUESTION}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    made = adapted.eval().generate(**batch, max_new_tokens=256, do_sample=False)
    return str(tokenizer.decode(made[0, batch["input_ids"].shape[1] :], skip_special_tokens=True))


@pytest.mark.model
def test_each_checkpoint_of_a_real_training_speaks_for_itself(
    dana: Person, served: ModelClient, tmp_path: Path
) -> None:
    # So few steps that each still changes what is said.
    run = start(dana, changes={"epochs": 1, "batch_size": 8, "save_steps": 1, "learning_rate": 0.01})
    run_queued_jobs()
    found = try_checkpoint.listing(dana, run.id)
    assert found[0].newest and any(one.best for one in found) and found[0].epoch == 1.0
    assert all(one.size > 0 for one in found)
    said = {one.step: text_of(ask(dana, run.id, one.step, QUESTION)) for one in found}
    assert len(set(said.values())) == len(found) > 1
    for step, answer in said.items():
        blobs().download_folder(place(checkpoint_prefix(run.id), step), tmp_path / str(step))
        assert answer.strip() == peft_alone(tmp_path / str(step)).strip()

    # The same step written again, as after a resume from an earlier checkpoint: its own words at once.
    first, last = found[-1].step, found[0].step
    identity = identity_of(tmp_path / str(last))
    store = CheckpointStore(tmp_path / "again", blobs(), checkpoint_prefix(run.id), identity)
    (tmp_path / str(first)).rename(store.local(last))
    store.seal(last, eval_loss=None, seconds=1.0, tokens=1)
    assert text_of(ask(dana, run.id, last, QUESTION)) == said[first] != said[last]


def identity_of(folder: Path) -> Identity:
    return Manifest.model_validate_json((folder / MANIFEST).read_bytes()).identity
