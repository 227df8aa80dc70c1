"""Making the model: its first weights quote, meanings and small talk go on where they stopped."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

import pytest
import torch
from transformers import AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerBase

from engine.training.starter.evaluate import answers
from engine.training.starter.make import HOME, Recipe, Trainer, batches, encode
from engine.training.starter.meanings import Meanings, learn
from engine.training.starter.model import new_model
from engine.training.starter.text import Case, Level, grounded_case


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(HOME, local_files_only=True)


@pytest.fixture
def new(tokenizer: PreTrainedTokenizerBase) -> LlamaForCausalLM:
    return new_model(tokenizer, Meanings(tokenizer).found()).eval()


@pytest.mark.model
def test_what_is_written_quotes_a_long_passage_before_any_training(
    new: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase
) -> None:
    passages = (
        "Lamps are sold in the back.",
        "The museum, built in 1887, opens at 9:30, closes at 9:45; tickets cost 12, after 9:30 9 pounds.",
        "The café opens never.",
    )
    case = Case(
        language="en",
        passages=passages,
        turns=(("What do museum tickets cost?", passages[1]),),
        kinds=("quote",),
    )
    assert answers(new, tokenizer, [case.messages()[:-1]]) == [passages[1]]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Several threads add up in any order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.model
def test_meanings_that_were_stopped_go_on_as_if_they_had_not_been(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path, one_thread: None
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    whole.mkdir()
    stopped.mkdir()
    wanted = learn(tokenizer, whole, 4)
    learn(tokenizer, stopped, 4, until=2)
    found = learn(tokenizer, stopped, 4)
    assert wanted.keys() == found.keys()
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)


def test_only_the_last_answer_is_learned(tokenizer: PreTrainedTokenizerBase) -> None:
    case = grounded_case(Random(1), "train", Level(turns=2, single=0.0), "en")
    ids, begin = encode(tokenizer, case.messages())
    assert tokenizer.decode(ids[begin:]) == f"{case.turns[-1][1]}<|end|>"
    assert tokenizer.decode(ids[:begin]).endswith("<|assistant|>")


@pytest.mark.model
def test_training_that_was_stopped_goes_on_as_if_it_had_not_been(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path, one_thread: None
) -> None:
    recipe = Recipe(steps=6, tokens=256, warm_up=2)
    meanings = Meanings(tokenizer).found()

    def trainer() -> Trainer:
        return Trainer(tokenizer, recipe, new_model(tokenizer, meanings))

    def run(one: Trainer, steps: int) -> None:
        for batch in islice(batches(tokenizer, recipe, one.step), steps):
            one.train_step(batch)

    whole, stopped, resumed = trainer(), trainer(), trainer()
    run(whole, 4)
    run(stopped, 2)
    stopped.save(tmp_path)
    resumed.load(tmp_path)
    assert resumed.step == 2
    run(resumed, 2)
    for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.model
def test_small_talk_changes_the_last_layer_alone(tokenizer: PreTrainedTokenizerBase) -> None:
    recipe, meanings = Recipe(steps=2, tokens=256, warm_up=1), Meanings(tokenizer).found()
    trained = Trainer(tokenizer, recipe, new_model(tokenizer, meanings))
    for batch in islice(batches(tokenizer, recipe, 0), 2):
        trained.train_step(batch)
    before = new_model(tokenizer, meanings).state_dict()
    changed = {
        name for name, weight in trained.model.state_dict().items() if not torch.equal(weight, before[name])
    }
    assert changed and all(name.startswith("model.layers.5.mlp") for name in changed)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"tokens": 0}, {"warm_up": -1}, {"meanings": 0}])
def test_a_recipe_names_only_what_is_possible(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        Recipe(**wrong)
