"""A batch in pieces, scored only where answers stand: a step is faster, and what it learns is the same."""

import itertools
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from engine.training.trainer import PASS, AnswerTrainer, pieces

QUESTION = "Where is shelf twelve of the second hall?"
TURNS = [
    ("Where?", "Here."),
    (QUESTION, "Behind the stairs, on the left."),
    (QUESTION * 2, "Up."),
    ("Why?", "Because " * 15),
    (QUESTION * 3, "Over there, " * 5),
]
ROWS = [
    {
        "prompt": [{"role": "user", "content": question}],
        "completion": [{"role": "assistant", "content": answer}],
    }
    for question, answer in TURNS
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
        assert len(list(pieces(batch["attention_mask"].sum(1).tolist()))) > 2
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


def cost(divided: list[list[int]], widths: list[int]) -> int:
    return sum(PASS + len(piece) * max(widths[place] for place in piece) for piece in divided)


@pytest.mark.parametrize("widths", [[70], [9, 9, 9], [300, 20, 25, 400, 22], [64, 128, 192, 256], [500, 1]])
def test_no_division_of_a_batch_costs_less(widths: list[int]) -> None:
    found = list(pieces(widths))
    assert sorted(itertools.chain(*found)) == list(range(len(widths)))
    order = sorted(range(len(widths)), key=widths.__getitem__)
    others = []
    for cuts in itertools.product([False, True], repeat=len(widths) - 1):
        divided = [[order[0]]]
        for place, cut in zip(order[1:], cuts, strict=True):
            divided = [*divided, [place]] if cut else [*divided[:-1], [*divided[-1], place]]
        others.append(cost(divided, widths))
    assert cost(found, widths) == min(others)


def test_rows_of_one_length_stay_together() -> None:
    assert [sorted(piece) for piece in pieces([120] * 8)] == [list(range(8))]
