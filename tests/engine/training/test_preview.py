"""What the preview shows is what the trainer trains on."""

from pathlib import Path
from typing import Any

import pytest

from engine.training import preview

TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "退货需要几天？"},
    {"role": "assistant", "content": "45 天。😀"},
]
EXAMPLE = {"prompt": TURNS[:2], "completion": TURNS[2:]}


@pytest.fixture(scope="module")
def tokens(tiny_base: Path) -> Any:
    return preview.tokenizer(tiny_base)


def test_only_the_answer_is_learnt_and_no_character_is_torn(tokens: Any) -> None:
    seen = preview.seen(tokens, EXAMPLE, 256)
    assert "".join(piece.text for piece in seen.pieces) == (
        "<system>Be brief.<|end|><user>退货需要几天？<|end|><assistant>45 天。😀<|end|>"
    )
    learnt = "".join(piece.text for piece in seen.pieces if piece.learnt)
    assert learnt == "45 天。😀<|end|>"
    assert all("\ufffd" not in piece.text for piece in seen.pieces)
    assert (seen.length, seen.kept) == (seen.kept, seen.length) and 0 < seen.learnt < seen.length


def test_what_is_cut_is_not_shown_and_not_counted(tokens: Any) -> None:
    whole = preview.seen(tokens, EXAMPLE, 256)
    cut = preview.seen(tokens, EXAMPLE, whole.length - 5)
    assert (cut.length, cut.kept, cut.learnt) == (whole.length, whole.length - 5, whole.learnt - 5)
    empty = preview.seen(tokens, EXAMPLE, 10)
    assert (empty.kept, empty.learnt) == (10, 0)


@pytest.mark.model
@pytest.mark.parametrize("max_length", [40, 60, 256])
def test_the_trainer_prepares_the_same(tiny_base: Path, tokens: Any, tmp_path: Path, max_length: int) -> None:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM
    from trl import SFTConfig, SFTTrainer

    examples = [EXAMPLE, {"prompt": TURNS[1:2], "completion": [{"role": "assistant", "content": "Yes."}]}]
    config = SFTConfig(
        output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none", max_length=max_length
    )
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(tiny_base),
        args=config,
        train_dataset=Dataset.from_list(examples),
        processing_class=tokens,
    )
    rows = list(trainer.train_dataset)
    prepared = [(len(row["input_ids"]), sum(label >= 0 for label in row["labels"])) for row in rows]
    seen = [preview.seen(tokens, example, max_length) for example in examples]
    # The trainer leaves out what has nothing to learn.
    assert prepared == [(one.kept, one.learnt) for one in seen if one.learnt]
