"""Merging on the real starter: the numbers of base and adapter together, in a folder that stands alone."""

import json
import re
import shutil
from pathlib import Path

import pytest

from engine.inference.base_model import STARTER
from tests.experts import random_adapter

pytestmark = pytest.mark.model
QUESTION = [{"role": "user", "content": "How long do I have to return a tent? 退货期限是多久？"}]


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_adapter(STARTER, tmp_path_factory.mktemp("adapter"))


@pytest.fixture(scope="module")
def merged(adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from engine.training.merging import merge

    folder = tmp_path_factory.mktemp("merged")
    merge(STARTER, adapter, folder)
    return folder


def test_it_says_what_base_and_adapter_say(adapter: Path, merged: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(merged)
    ids = tokenizer.apply_chat_template(QUESTION, add_generation_prompt=True, return_tensors="pt")[
        "input_ids"
    ]
    base = AutoModelForCausalLM.from_pretrained(STARTER)
    alone = AutoModelForCausalLM.from_pretrained(merged)
    assert alone.dtype == torch.float32 and type(alone) is type(base)
    with torch.no_grad():
        before = base(ids).logits
        together = PeftModel.from_pretrained(base, str(adapter)).eval()
        expected, found = together(ids).logits, alone(ids).logits
    assert (expected - before).abs().max() > 1.0, "the adapter of this test changes nothing"
    assert (expected - found).abs().max() < 1e-4
    said = [
        model.generate(input_ids=ids, do_sample=False, max_new_tokens=40).tolist()
        for model in (together, alone)
    ]
    assert said[0] == said[1] and len(said[0][0]) > ids.shape[1]


def test_the_folder_is_whole_and_tells_nothing_of_this_machine(merged: Path) -> None:
    names = {path.name for path in merged.iterdir()}
    assert names == {path.name for path in STARTER.iterdir()} - {"README.md"}
    for path in merged.iterdir():
        if path.suffix != ".safetensors":
            assert not re.search(rf"{STARTER.parent}|{merged.parent}|_name_or_path", path.read_text("utf-8"))
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        assert (merged / name).read_text("utf-8").strip() == (STARTER / name).read_text("utf-8").strip()


def test_the_base_keeps_its_precision_its_licence_and_its_odd_generation_config(
    tiny_base: Path, tmp_path: Path
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from engine.training.merging import merge

    base = tmp_path / "base"
    shutil.copytree(tiny_base, base)
    AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.bfloat16).save_pretrained(base)
    # Base models out there have such contradictions; transformers refuses to save them.
    odd = json.dumps({"do_sample": False, "temperature": 0.1, "top_p": 0.9})
    (base / "generation_config.json").write_text(odd)
    for name in ("LICENSE", "NOTICE.txt", "license_server.py"):
        (base / name).write_text(name)
    merge(base, random_adapter(base, tmp_path / "adapter"), tmp_path / "merged")
    names = {path.name for path in (tmp_path / "merged").iterdir()}
    assert {"LICENSE", "NOTICE.txt"} < names and "license_server.py" not in names
    assert (tmp_path / "merged" / "generation_config.json").read_text() == odd
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "merged").dtype == torch.bfloat16
