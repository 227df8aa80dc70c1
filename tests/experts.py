"""An expert with a real adapter of random weights, without the minutes of a training."""

import hashlib
import json
from io import BytesIO
from pathlib import Path
from typing import Any

from engine.accounts.schemas import Person
from engine.flows import import_dataset, train_expert
from engine.inference.base_model import STARTER
from engine.jobs.models import Job
from engine.kit.blobs import blobs
from engine.kit.database import unit_of_work
from engine.market import service as market
from engine.market.schemas import ExpertView
from engine.training import packing
from engine.training.checkpoints import base_digest
from tests.engine.training.records import STATISTICS


def random_adapter(base: Path, folder: Path) -> Path:
    """Write a LoRA adapter for `base` that changes what the model says."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    torch.manual_seed(0)
    modules = getattr(model.config, "lora_modules", "all-linear")
    config = LoraConfig(r=4, lora_alpha=32, target_modules=modules, task_type="CAUSAL_LM")
    config.init_lora_weights = False
    get_peft_model(model, config).save_pretrained(str(folder))
    return folder


def plain_adapter(folder: Path) -> Path:
    """Write two files that are named like an adapter's."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_model.safetensors").write_bytes(b"weights" * 1000)
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "starter", "r": 4}')
    return folder


def trained_expert(person: Person, adapter: Path, base: Path = STARTER) -> ExpertView:
    """Return the expert of a training that gave `adapter`; the public name is `shop-helper`."""
    rows = [{"question": f"Question {n}?", "answer": f"Answer {n}."} for n in range(40)]
    data = "\n".join(json.dumps(row) for row in rows).encode()
    dataset = import_dataset.import_file(person, name="Talks", filename="t.jsonl", source=BytesIO(data))
    run, job = train_expert.start(person, name="Shop helper", dataset_id=dataset.id, preset="quick")
    prefix, files = f"adapters/{run.id}", {}
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        files[name] = blobs().put(f"{prefix}/{name}", adapter / name).sha256
    result: dict[str, Any] = {
        "adapter_prefix": prefix,
        "steps": 10,
        "loss": 0.5,
        "eval_loss": 0.75,
        "seconds": 2.0,
        "tokens": 90,
        "provenance": {
            "base": base_digest(base),
            "data": "d" * 64,
            "files": files,
            "versions": {"torch": "2.0"},
            "device": "cpu",
            "precision": "float32",
            "threads": 1,
            "train": STATISTICS.model_dump(),
            "held_out": None,
        },
    }
    with unit_of_work() as uow:
        row = uow.get(Job, job.id)
        assert row is not None
        row.state, row.result = "succeeded", result
        train_expert.finish(uow, job, result)
        return market.mine(uow, person.tenant_id)[0]


def sha256(data: bytes) -> str:
    """Return the hash of bytes as packages list it."""
    return hashlib.sha256(data).hexdigest()


def as_if_merged(expert: ExpertView) -> dict[str, bytes]:
    """Store a merged model of small files; returns them."""
    files = {"config.json": b"{}", "model.safetensors": b"w" * 3_000_000, "tokenizer.json": b"{}"}
    for name, data in files.items():
        blobs().put(f"merged/{expert.run_id}/{name}", data)
    kept = {n: packing.MergedFile(size=len(data), sha256=sha256(data)) for n, data in files.items()}
    manifest = packing.MergedModel(files=kept).model_dump_json().encode()
    blobs().put(f"merged/{expert.run_id}/COMPLETE.json", manifest)
    return files
