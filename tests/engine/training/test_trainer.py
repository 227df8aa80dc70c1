"""Scoring only the answers changes the speed of a step, not what is learned from it."""

from pathlib import Path

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from engine.training.trainer import AnswerTrainer

ROWS = [
    {
        "prompt": [{"role": "user", "content": "Where?"}],
        "completion": [{"role": "assistant", "content": "Here."}],
    },
    {
        "prompt": [{"role": "user", "content": "Where is shelf twelve of the second hall?"}],
        "completion": [{"role": "assistant", "content": "Behind the stairs, on the left."}],
    },
]


def trainer(kind: type[SFTTrainer], base: Path, folder: Path) -> SFTTrainer:
    config = SFTConfig(
        output_dir=str(folder), use_cpu=True, report_to="none", completion_only_loss=True, max_length=256
    )
    return kind(
        model=AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32),
        args=config,
        train_dataset=Dataset.from_list(ROWS),
        processing_class=AutoTokenizer.from_pretrained(base),
    )


@pytest.mark.model
def test_the_loss_and_its_gradient_are_those_of_trl(tiny_base: Path, tmp_path: Path) -> None:
    found = []
    for kind in (SFTTrainer, AnswerTrainer):
        made = trainer(kind, tiny_base, tmp_path / kind.__name__)
        batch = next(iter(made.get_train_dataloader()))
        made.model.train()
        loss = made.compute_loss(made.model, dict(batch), num_items_in_batch=torch.tensor(30))
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in made.model.parameters() if p.grad is not None])
        found.append((loss.item(), gradient))
    (loss, gradient), (ours, our_gradient) = found
    assert ours == pytest.approx(loss, rel=1e-5)
    assert torch.allclose(our_gradient, gradient, atol=1e-5)
    assert loss > 0


@pytest.mark.model
def test_a_batch_whose_answers_were_all_cut_off_costs_nothing(tiny_base: Path, tmp_path: Path) -> None:
    made = trainer(AnswerTrainer, tiny_base, tmp_path)
    batch = dict(next(iter(made.get_train_dataloader())))
    batch["labels"] = torch.full_like(batch["labels"], -100)
    assert made.compute_loss(made.model, batch).item() == 0
