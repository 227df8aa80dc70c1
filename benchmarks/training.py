"""How fast experts are trained, what watching them costs, and what is lost when a training is killed.

`python -m benchmarks.training [--quick] [--json]`. Float32 on a processor, the starter model, Chinese
instructions (the samples' dialogues where those are missing). What is measured, in this order:

- speed: a whole training, from a base model and rows to an adapter; the baseline is TRL's SFTTrainer with
  its defaults, with the same adapter, rows, order, rate and threads. The second baseline lacks gradient
  checkpointing, which it has by default and no processor needs. Held-out loss of what comes out;
- callbacks: what progress and checkpoints cost (`benchmarks/watching.py`);
- trainings killed at random moments (`benchmarks/interruptions.py`);
- the order and the limits of jobs on a simulated pool (`benchmarks/queueing.py`).
"""

import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import queueing
from benchmarks.corpora import Chat, chats, fresh_home, write_rows
from benchmarks.interruptions import interruptions
from benchmarks.rows import Row, report
from benchmarks.starter import STARTER, Quiet
from benchmarks.watching import watching
from engine.training.recipe import LoraRecipe

GOAL = 1.5
HELD_OUT, QUICK_HELD_OUT = 40, 5
ROWS, QUICK_ROWS = 64, 8
WATCHED_ROWS, QUICK_WATCHED_ROWS = 800, 16
TURNS, QUICK_TURNS = 3, 1
WARM_UP_ROWS = 2
KILLS, QUICK_KILLS = 50, 4


def recipe_for(rows: int) -> LoraRecipe:
    """Return the product's recipe, for one pass."""
    return LoraRecipe.preset("balanced", rows).changed({"epochs": 1})


@dataclass(frozen=True, kw_only=True)
class Trained:
    """An adapter, the tokens it was trained on (without padding), and the seconds from rows to adapter."""

    adapter: Path
    tokens: int
    seconds: float


def ours(folder: Path, conversations: Sequence[Chat]) -> Trained:
    """Train as the product does, with nobody watching."""
    from engine.kit.blobs import blobs
    from engine.training.checkpoints import CheckpointStore, Identity
    from engine.training.run import train

    paths = write_rows(folder / "train.jsonl", conversations), write_rows(folder / "none.jsonl", [])
    identity = Identity(data="rows", recipe="recipe", base="starter")
    started = time.perf_counter()
    outcome = train(
        base=STARTER,
        base_name="starter",
        train_path=paths[0],
        validation_path=paths[1],
        recipe=recipe_for(len(conversations)),
        workdir=folder,
        store=CheckpointStore(folder / "trainer", blobs(), f"checkpoints/{folder.name}", identity),
        monitor=Quiet(),
    )
    assert outcome.adapter
    return Trained(adapter=outcome.adapter, tokens=outcome.tokens, seconds=time.perf_counter() - started)


def plain(folder: Path, conversations: Sequence[Chat], **settings: Any) -> Trained:
    """Train with TRL alone. What is set is our learning rate and its curve, and what it prints: nothing."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    recipe = recipe_for(len(conversations))
    lora = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=json.loads((STARTER / "config.json").read_text("utf-8"))["lora_modules"],
        task_type="CAUSAL_LM",
    )
    config = SFTConfig(
        output_dir=str(folder / "trainer"),
        use_cpu=True,
        bf16=False,
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=recipe.warmup,
        seed=recipe.seed,
        report_to="none",
        disable_tqdm=True,
        **settings,
    )
    started = time.perf_counter()
    rows = [{"prompt": one[:-1], "completion": one[-1:]} for one in conversations]
    trainer = SFTTrainer(
        model=str(STARTER), args=config, train_dataset=Dataset.from_list(rows), peft_config=lora
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    trainer.save_model(str(folder / "adapter"))
    return Trained(
        adapter=folder / "adapter",
        tokens=int(trainer.state.log_history[-1]["num_tokens"]),
        seconds=time.perf_counter() - started,
    )


def held_out_loss(adapter: Path | None, conversations: Sequence[Chat]) -> float:
    """Return the mean cross-entropy of all answer tokens, one conversation at a time."""
    import torch
    from torch.nn.functional import cross_entropy

    from benchmarks.starter import Starter

    starter = Starter(adapter)
    total, count = 0.0, 0
    for one in conversations:
        encode = partial(starter.tokenizer.apply_chat_template, return_dict=False)
        begin = len(encode(one[:-1], add_generation_prompt=True))
        tokens = torch.tensor([encode(one)])
        with torch.no_grad():
            logits = starter.model(input_ids=tokens).logits[0, begin - 1 : -1]
        total += cross_entropy(logits, tokens[0, begin:], reduction="sum").item()
        count += len(logits)
    return total / count


def speed(home: Path, rows: int, held_out: int, turns: int) -> Iterator[Row]:
    """Train with ours and with both baselines, in turn."""
    everything = chats()
    rivals: dict[str, Callable[[Path, Sequence[Chat]], Trained]] = {
        "ours": ours,
        "plain": plain,
        "unchecked": partial(plain, gradient_checkpointing=False),
    }
    made: dict[str, list[Trained]] = {name: [] for name in rivals}

    def once(name: str, turn: int, conversations: Sequence[Chat]) -> Trained:
        folder = home / f"{name}-{turn}"
        folder.mkdir()
        return rivals[name](folder, conversations)

    # Untimed. Ours comes first: it sets the number of threads, for the others as well.
    for name in rivals:
        once(name, -1, everything[:WARM_UP_ROWS])
    for turn in range(turns):
        for name in list(rivals)[:: -1 if turn % 2 else 1]:
            made[name].append(once(name, turn, everything[held_out : held_out + rows]))
    pace = {name: [one.tokens / one.seconds for one in all_] for name, all_ in made.items()}
    losses = {name: held_out_loss(all_[-1].adapter, everything[:held_out]) for name, all_ in made.items()}
    title = f"LoRA on {rows} conversations, {made['ours'][0].tokens} tokens"
    for name, words in (
        ("plain", "TRL's defaults"),
        ("unchecked", "TRL without gradient checkpointing"),
    ):
        ratio = statistics.median(a / b for a, b in zip(pace["ours"], pace[name], strict=True))
        yield Row(
            name=f"{title}; over {words}",
            value=round(statistics.median(pace["ours"])),
            unit="tokens/s",
            baseline=round(statistics.median(pace[name])),
            ratio=round(ratio, 2),
            goal=f"ratio >= {GOAL}" if name == "plain" else "",
            ok=ratio >= GOAL if name == "plain" else None,
        )
    before = held_out_loss(None, everything[:held_out])
    yield Row(
        name=f"held-out loss after it, {held_out} conversations; {before:.3f} before",
        value=round(losses["ours"], 4),
        unit="nats/token",
        baseline=round(losses["plain"], 4),
        ratio=round(losses["ours"] / losses["plain"], 4),
        goal="no worse",
        ok=round(losses["ours"], 3) <= round(losses["plain"], 3),
    )


def measure(quick: bool) -> list[Row]:
    """Measure everything in home folders of its own, removed at the end."""
    rows, held_out, turns, kills, watched = (
        (QUICK_ROWS, QUICK_HELD_OUT, QUICK_TURNS, QUICK_KILLS, QUICK_WATCHED_ROWS)
        if quick
        else (ROWS, HELD_OUT, TURNS, KILLS, WATCHED_ROWS)
    )
    with fresh_home() as home:
        found = [
            *speed(home, rows, held_out, turns),
            *watching(home, chats()[:watched], judged=not quick),
            *interruptions(home, chats(), kills),
        ]
    with fresh_home():  # where nobody else's jobs wait
        return [*found, *queueing.rows(quick)]


if __name__ == "__main__":
    report(
        "How fast experts are trained, and what watching and killing costs.",
        ("torch", "transformers", "peft", "trl"),
        measure,
    )
