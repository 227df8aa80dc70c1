"""One LoRA training with TRL and PEFT: from rows and a base model to an adapter folder."""

import gc
import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, cast

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback
from trl import SFTConfig

from engine.kit.errors import BadInput
from engine.training.callbacks import EvaluationCallback, RunCallback
from engine.training.checkpoints import CheckpointStore
from engine.training.estimate import processors
from engine.training.examples import load_examples
from engine.training.failures import explained
from engine.training.preferences import Trainer, preference_trainer
from engine.training.probes import probes
from engine.training.recipe import TINY, LoraRecipe
from engine.training.samples import Conversation, Sampler
from engine.training.schemas import Monitor, Probe
from engine.training.trainer import AnswerTrainer

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
PARTS = ("mbe-studio", "torch", "transformers", "trl", "peft")
"""The distributions whose versions decide what a training gives."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a training runs on; see `Provenance`."""

    versions: dict[str, str]
    device: str
    precision: str
    threads: int


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one attempt at a training gave.

    `adapter` is a folder with exactly ADAPTER_FILES, or None when the attempt was stopped. `loss` is the
    mean over the last epoch, `seconds` and `tokens` count all attempts together. `probes` are what
    the trained model answers, none when stopped.
    """

    adapter: Path | None
    stopped: Literal["pause", "cancel"] | None
    steps: int
    loss: float
    eval_loss: float | None
    seconds: float
    tokens: int
    probes: list[Probe]


def train(
    *,
    base: Path,
    base_name: str,
    train_path: Path,
    validation_path: Path,
    recipe: LoraRecipe,
    workdir: Path,
    store: CheckpointStore,
    monitor: Monitor,
    questions: Mapping[str, Conversation] | None = None,
) -> Outcome:
    """Train until the recipe is done or the monitor asks to stop; continue from the newest checkpoint.

    The rows are JSON lines; `examples.examples` says what each teaches by the recipe's method. The loss
    counts only the tokens of answers. Trains in bfloat16 on a CUDA device, else in float32 on the CPU.
    No code from the base model's folder is run. `questions` are asked on the way, see `Sampler`.

    Raises BadInput when no row fits into `recipe.max_length`, Diverged when the loss is not a number,
    OutOfMemory, and DiskFull.
    """
    newest = store.newest()
    monitor.resumed(newest.step if newest else 0)
    train_rows, validation_rows = (
        load_examples(path, recipe.method) for path in (train_path, validation_path)
    )
    callback = RunCallback(
        recipe,
        store,
        monitor,
        evaluates=bool(validation_rows),
        sampler=Sampler(questions or {}, recipe.epochs),
        seconds=newest.seconds if newest else 0.0,
        tokens=newest.tokens if newest else 0,
        kept_step=newest.step if newest else 0,
    )
    with explained(recipe, store.folder, lambda: callback.kept_step):
        trainer = _trainer(base, recipe, store.folder, train_rows, validation_rows, callback)
        trainer.train(resume_from_checkpoint=str(store.local(newest.step)) if newest else False)
        adapter = None if callback.stopped else _write_adapter(trainer, workdir / "adapter", base_name)
    history = trainer.state.log_history
    steps = trainer.state.global_step
    return Outcome(
        adapter=adapter,
        stopped=callback.stopped,
        steps=steps,
        loss=_last_epoch_loss(history, steps, trainer.state.max_steps // recipe.epochs),
        eval_loss=next((entry["eval_loss"] for entry in reversed(history) if "eval_loss" in entry), None),
        seconds=round(callback.seconds, 2),
        tokens=callback.tokens,
        probes=[]
        if callback.stopped
        else probes(trainer.model, trainer.processing_class, validation_rows or train_rows),
    )


def surroundings() -> Surroundings:
    """Return what trainings of this process run on, as `train` has set it up."""
    cuda = torch.cuda.is_available()
    return Surroundings(
        versions={"python": platform.python_version(), **{name: _version(name) for name in PARTS}},
        device=torch.cuda.get_device_name() if cuda else "cpu",
        precision="bfloat16" if cuda else "float32",
        threads=torch.get_num_threads(),
    )


def release() -> None:
    """Give back what a training of this process that has ended still holds, before another one begins."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "source"


def _trainer(
    base: Path,
    recipe: LoraRecipe,
    folder: Path,
    train_rows: list[dict[str, Any]],
    validation_rows: list[dict[str, Any]],
    callback: RunCallback,
) -> AnswerTrainer | Trainer:
    cuda = torch.cuda.is_available()
    model, tokenizer = _load(base, cuda)
    lora = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        # A model may say which of its parts an adapter belongs to; the model server reads the same.
        target_modules=getattr(model.config, "lora_modules", "all-linear"),
        task_type="CAUSAL_LM",
    )
    config = _config(recipe, folder, cuda, model.num_parameters())
    parts: dict[str, Any] = {
        "model": model,
        "train_dataset": _checked(train_rows, recipe),
        "eval_dataset": Dataset.from_list(validation_rows) if validation_rows else None,
        "processing_class": tokenizer,
        "peft_config": lora,
        "callbacks": [callback],
    }
    trainer: AnswerTrainer | Trainer
    if recipe.method == "sft":
        trainer = AnswerTrainer(args=SFTConfig(**config, completion_only_loss=True), **parts)
    else:
        trainer = preference_trainer(recipe, config, **parts)
    trainer.remove_callback(PrinterCallback)
    prepared = trainer.train_dataset
    if isinstance(prepared, Dataset) and not len(prepared):
        raise BadInput("training.no_rows", field="max_length", max_length=recipe.max_length)
    return trainer


def evaluator(
    base: Path,
    rows: list[dict[str, Any]],
    max_length: int,
    batch_size: int,
    folder: Path,
    seen: Callable[[int, int], None],
) -> AnswerTrainer:
    """Return a trainer that can only evaluate: a base model as it is, on the examples in `rows`.

    `seen` is told how many batches are done, and of how many.
    """
    cuda = torch.cuda.is_available()
    model, tokenizer = _load(base, cuda)
    recipe = LoraRecipe(batch_size=batch_size, max_length=max_length)
    config = _config(recipe, folder, cuda, model.num_parameters()) | {"gradient_checkpointing": False}
    data = Dataset.from_list(rows)
    trainer = AnswerTrainer(
        model=model,
        args=SFTConfig(**config, completion_only_loss=True),
        # It cannot be made without.
        train_dataset=data,
        eval_dataset=data,
        processing_class=tokenizer,
        callbacks=[EvaluationCallback(seen)],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _load(base: Path, cuda: bool) -> tuple[Any, Any]:
    """Return a base model and its tokenizer, as every method takes them."""
    if not cuda:
        torch.set_num_threads(processors())
    model = AutoModelForCausalLM.from_pretrained(
        base,
        dtype=torch.bfloat16 if cuda else torch.float32,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
    )
    return model, AutoTokenizer.from_pretrained(base, local_files_only=True, trust_remote_code=False)


def _checked(rows: list[dict[str, Any]], recipe: LoraRecipe) -> Dataset:
    if not rows:
        raise BadInput("training.no_rows", field="max_length", max_length=recipe.max_length)
    return Dataset.from_list(rows)


def _config(recipe: LoraRecipe, folder: Path, cuda: bool, parameters: int) -> dict[str, Any]:
    """Return the fields that the trainers of all methods have in common."""
    return {
        "output_dir": str(folder),
        "use_cpu": not cuda,
        "bf16": cuda,
        "gradient_checkpointing": cuda and parameters > TINY,
        "dataloader_pin_memory": cuda,
        "per_device_train_batch_size": recipe.batch_size,
        "per_device_eval_batch_size": recipe.batch_size,
        "gradient_accumulation_steps": recipe.accumulation,
        "num_train_epochs": recipe.epochs,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": recipe.warmup,
        "weight_decay": recipe.weight_decay,
        "seed": recipe.seed,
        "max_length": recipe.max_length,
        # The callback decides when to log, evaluate and save, in one place and in a fixed order.
        "logging_strategy": "no",
        "eval_strategy": "no",
        "save_strategy": "no",
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
    }


def _write_adapter(trainer: AnswerTrainer | Trainer, folder: Path, base_name: str) -> Path:
    """Write the adapter; its config names the base model instead of a folder of this machine."""
    cast(PeftModel, trainer.model).save_pretrained(str(folder))
    for path in folder.iterdir():
        if path.name not in ADAPTER_FILES:
            path.unlink()
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text("utf-8"))
    config["base_model_name_or_path"] = base_name
    path.write_text(json.dumps(config, indent=2, sort_keys=True), "utf-8")
    return folder


def _last_epoch_loss(history: list[dict[str, Any]], steps: int, per_epoch: int) -> float:
    losses = [entry["loss"] for entry in history if "loss" in entry and entry["step"] > steps - per_epoch]
    return float(sum(losses) / len(losses)) if losses else float("nan")
