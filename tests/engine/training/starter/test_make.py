"""Making the model: its first weights already look things up, and training goes on where it stopped."""

from pathlib import Path
from random import Random

import pytest
import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from engine.training.starter.make import HOME, Recipe, Trainer, batches, encode, loss_of
from engine.training.starter.model import new_model
from engine.training.starter.text import Level, grounded_case

EASY = Level(passages=4, sentences=1, turns=1, refusals=0.0)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(HOME, local_files_only=True)


@pytest.mark.model
def test_the_first_weights_choose_a_sentence_better_than_chance(tokenizer: PreTrainedTokenizerBase) -> None:
    rng = Random(3)
    cases = [grounded_case(rng, "held_out", EASY, "en") for _ in range(60)]
    rows = [encode(tokenizer, case.messages()) for case in cases if len(case.passages) > 1]
    with torch.no_grad():
        _, first, _ = loss_of(new_model(tokenizer), rows)
    assert first > 0.4, "among two to four sentences chance is one in three"


def test_only_the_last_answer_is_learned(tokenizer: PreTrainedTokenizerBase) -> None:
    case = grounded_case(Random(1), "train", Level(turns=2, single=0.0), "en")
    ids, begin = encode(tokenizer, case.messages())
    assert tokenizer.decode(ids[begin:]) == f"{case.turns[-1][1]}<|end|>"
    assert tokenizer.decode(ids[:begin]).endswith("<|assistant|>")


@pytest.mark.model
def test_training_that_was_stopped_goes_on_as_if_it_had_not_been(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    recipe = Recipe(steps=6, tokens=512, warm_up=2)

    def run(trainer: Trainer, steps: int) -> None:
        # One source of batches a step, as after a stop at every step.
        for _ in range(steps):
            trainer.train_step(next(batches(tokenizer, recipe, trainer.step)))

    whole = Trainer(tokenizer, recipe)
    run(whole, 4)
    stopped = Trainer(tokenizer, recipe)
    run(stopped, 2)
    stopped.save(tmp_path)
    resumed = Trainer(tokenizer, recipe)
    resumed.load(tmp_path)
    assert resumed.step == 2
    run(resumed, 2)
    for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"tokens": 0}, {"warm_up": -1}, {"skipped": 1.0}])
def test_a_recipe_names_only_what_is_possible(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        Recipe(**wrong)


def test_a_model_that_is_not_new_leaves_the_easy_cases_out() -> None:
    first, last = (Recipe(steps=100, skipped=0.3).level(step) for step in (0, 99))
    assert first == Recipe(steps=100).level(30) != Recipe(steps=100).level(0)
    assert last == Recipe(steps=100).level(99)
