"""An adapter and its base model made into one plain model folder."""

import re
import shutil
from pathlib import Path

from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

SHARD = "5GB"
"""Largest file of weights; hubs and object stores take it in one piece."""
GENERATION = "generation_config.json"
_LEGAL = re.compile(r"(licen[cs]e|notice)(\W.*)?", re.IGNORECASE)


def merge(base: Path, adapter: Path, folder: Path) -> None:
    """Write to `folder` the model that `base` and the LoRA in `adapter` make, in the base's own precision.

    It loads with transformers alone. Tokenizer, chat template, generation config, licence and notice are
    the base's. No code from either folder is run.
    """
    model = AutoModelForCausalLM.from_pretrained(
        base, dtype="auto", local_files_only=True, trust_remote_code=False, use_safetensors=True
    )
    adapted = PeftModel.from_pretrained(model, str(adapter), local_files_only=True)
    merged = adapted.merge_and_unload(safe_merge=True)
    kept = [path for path in base.iterdir() if path.name == GENERATION or _LEGAL.fullmatch(path.name)]
    if any(path.name == GENERATION for path in kept):
        # transformers refuses to save values that contradict one another; they are the base's own.
        merged.generation_config = GenerationConfig()
    merged.config.name_or_path = ""
    merged.save_pretrained(folder, max_shard_size=SHARD)
    # Of a folder, nothing is looked up elsewhere; `local_files_only` would be saved with the tokenizer.
    tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=False)
    tokenizer.save_pretrained(folder)
    for path in kept:
        shutil.copyfile(path, folder / path.name)
