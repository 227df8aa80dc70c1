from pathlib import Path

import pytest

pytestmark = pytest.mark.model


@pytest.mark.parametrize(
    ("epochs", "asked"),
    [
        (1, [1]),
        (3, [1, 2, 3]),
        (10, list(range(1, 11))),
        (25, [3, 5, 8, 10, 13, 15, 18, 20, 23, 25]),
        (100, list(range(10, 101, 10))),
    ],
)
def test_questions_are_asked_at_most_ten_times_evenly_and_at_the_last(epochs: int, asked: list[int]) -> None:
    from engine.training.samples import Sampler

    sampler = Sampler({"Why?": []}, epochs)
    due = [step for step in range(1, 4 * epochs + 1) if sampler.due(step, 4 * epochs)]
    assert due == [4 * epoch for epoch in asked]
    assert not any(Sampler({}, epochs).due(step, 4 * epochs) for step in due)


def test_asking_leaves_the_random_state_and_the_mode_as_they_were(tiny_base: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from engine.training.samples import NEW_TOKENS, Sampler

    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    sampler = Sampler({"Why?": [{"role": "user", "content": "Why?"}]}, 1)
    # What a base model says about drawing its words must not matter.
    model.generation_config.update(do_sample=True, temperature=0.7, top_p=0.8, top_k=20)
    before = torch.get_rng_state()
    for training in (True, False):
        model.train(training)
        one, two = sampler.ask(model, tokenizer, 4), sampler.ask(model, tokenizer, 4)
        assert one == two and model.training is training
    assert torch.equal(before, torch.get_rng_state())
    assert (one[0].step, one[0].number, one[0].question) == (4, 0, "Why?")
    assert 0 < len(tokenizer(one[0].answer)["input_ids"]) <= 3 * NEW_TOKENS
    assert all(weight.grad is None for weight in model.parameters())
