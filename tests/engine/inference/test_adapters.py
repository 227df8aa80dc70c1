"""Adapters from the store: only what is a plain LoRA adapter gets as far as a folder."""

import hashlib
import json
import os
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.inference import adapters
from engine.kit.blobs import blobs
from engine.kit.errors import BadInput, Conflict, NotFound
from engine.kit.settings import settings

PREFIX = "adapters/run_1"
CONFIG: dict[str, Any] = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "r": 4,
    "lora_alpha": 8,
    "target_modules": ["q_proj"],
    "bias": "none",
}
TENSOR = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


def safetensors(*names: str, dtype: str = "F32", tail: bytes = b"") -> bytes:
    header = {
        name: {"dtype": dtype, "shape": [2], "data_offsets": [8 * place, 8 * place + 8]}
        for place, name in enumerate(names)
    }
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(8 * len(names)) + tail


def store(config: object = CONFIG, weights: bytes | None = None) -> None:
    raw = config if isinstance(config, bytes) else json.dumps(config).encode()
    blobs().put(f"{PREFIX}/adapter_config.json", raw)
    blobs().put(f"{PREFIX}/adapter_model.safetensors", safetensors(TENSOR) if weights is None else weights)


def test_only_two_files_arrive_and_the_config_is_ours(home: Path) -> None:
    store({**CONFIG, "base_model_name_or_path": "/etc", "auto_mapping": {"x": "y"}, "evil": "yes"})
    blobs().put(f"{PREFIX}/tokenizer.json", b"{}")
    blobs().put(f"{PREFIX}/run.py", b"print()")
    folder = adapters.materialise(PREFIX)
    assert folder.parent == (home / "adapters").resolve()
    assert {path.name for path in folder.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    written = json.loads((folder / "adapter_config.json").read_text())
    assert written["base_model_name_or_path"] == settings().base_model
    assert written["target_modules"] == ["q_proj"]
    assert not {"auto_mapping", "evil"} & set(written)


def test_a_real_peft_adapter_passes_unchanged(home: Path, tiny: dict[str, Path]) -> None:
    blobs().upload_folder(PREFIX, tiny["left"])
    folder = adapters.materialise(PREFIX)
    original = (tiny["left"] / "adapter_model.safetensors").read_bytes()
    assert (folder / "adapter_model.safetensors").read_bytes() == original


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"peft_type": "IA3"}, "peft_type"),
        ({"task_type": "SEQ_CLS"}, "task_type"),
        ({"r": 0}, "r"),
        ({"r": 33}, "r"),
        ({"r": "4"}, "r"),
        ({"lora_alpha": float("inf")}, "lora_alpha"),
        ({"target_modules": "all-linear"}, "target_modules"),
        ({"target_modules": ["a/../b"]}, "target_modules.0"),
        ({"target_modules": []}, "target_modules"),
        ({"bias": "all"}, "bias"),
        ({"use_dora": True}, "use_dora"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"rank_pattern": {"q_proj": 64}}, "rank_pattern"),
    ],
)
def test_a_config_beyond_plain_lora_is_refused_by_name(
    home: Path, change: dict[str, Any], field: str
) -> None:
    store({**CONFIG, **change})
    with pytest.raises(BadInput) as refused:
        adapters.materialise(PREFIX)
    assert refused.value.field == field
    assert not list((home / "adapters").iterdir())


@pytest.mark.parametrize("config", [b"", b"[]", b"{", b"null", b" " * 70_000])
def test_a_config_that_is_none_is_refused(home: Path, config: bytes) -> None:
    store(config)
    with pytest.raises(BadInput):
        adapters.materialise(PREFIX)


@pytest.mark.parametrize(
    "weights",
    [
        b"",
        b"\x80\x04pickle",
        struct.pack("<Q", 2**40) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 2) + b"{}",
        safetensors("base_model.model.lm_head.weight"),
        safetensors(TENSOR, "base_model.model.model.embed_tokens.weight"),
        safetensors(TENSOR, dtype="I64"),
        safetensors(TENSOR, tail=b"hidden"),
        safetensors(TENSOR)[:-1],
    ],
)
def test_weights_that_are_not_lora_matrices_are_refused(home: Path, weights: bytes) -> None:
    store(weights=weights)
    with pytest.raises(BadInput):
        adapters.materialise(PREFIX)
    assert not list((home / "adapters").iterdir())


def test_a_missing_file_is_not_found_and_leaves_nothing(home: Path) -> None:
    blobs().put(f"{PREFIX}/adapter_config.json", json.dumps(CONFIG).encode())
    with pytest.raises(NotFound):
        adapters.materialise(PREFIX)
    assert not list((home / "adapters").iterdir())


def test_many_at_once_leave_one_whole_folder(home: Path) -> None:
    store()
    results: list[Path] = []

    def run(work: Callable[[str], Path]) -> None:
        results.append(work(PREFIX))

    threads = [threading.Thread(target=run, args=(adapters.materialise,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8 and len(set(results)) == 1
    assert [path.name for path in (home / "adapters").iterdir()] == [adapters.adapter_name(PREFIX)]


@given(st.text(max_size=80), st.text(max_size=80))
def test_names_are_safe_and_differ_for_different_prefixes(one: str, two: str) -> None:
    name = adapters.adapter_name(one)
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert len(name) <= 64
    assert (name == adapters.adapter_name(two)) == (one.strip("/") == two.strip("/"))


def exact(weights: bytes) -> adapters.Exact:
    config = hashlib.sha256(json.dumps(CONFIG).encode()).hexdigest()
    return adapters.Exact(prefix=PREFIX, config=config, weights=hashlib.sha256(weights).hexdigest())


def test_other_bytes_in_the_same_place_are_another_adapter(home: Path) -> None:
    first, second = safetensors(TENSOR), safetensors(TENSOR, TENSOR.replace("lora_A", "lora_B"))
    store(weights=first)
    folder = adapters.materialise(exact(first))
    assert folder.parent == (home / "adapters" / "exact").resolve()
    store(weights=second)
    other = adapters.materialise(exact(second))
    assert (folder / "adapter_model.safetensors").read_bytes() == first
    assert (other / "adapter_model.safetensors").read_bytes() == second
    names = {adapters.adapter_name(each) for each in (PREFIX, exact(first), exact(second))}
    assert len(names) == 3 and all(name.startswith("lora-run-1-") for name in names)


def test_bytes_that_are_not_those_asked_for_are_refused_and_leave_nothing(home: Path) -> None:
    wanted = exact(safetensors(TENSOR))
    store(weights=safetensors(TENSOR, dtype="F16"))
    with pytest.raises(Conflict):
        adapters.materialise(wanted)
    store({**CONFIG, "r": 8})
    with pytest.raises(Conflict):
        adapters.materialise(wanted)
    assert not list((home / "adapters" / "exact").iterdir())


def test_exact_adapters_beyond_the_newest_few_are_too_many(home: Path) -> None:
    assert adapters.surplus() == []
    weights = [safetensors(*(TENSOR.replace("0", str(n)) for n in range(count))) for count in range(1, 12)]
    names = []
    for age, each in enumerate(weights):
        store(weights=each)
        folder = adapters.materialise(exact(each))
        os.utime(folder, (age, age))
        names.append(folder.name)
    store()
    adapters.materialise(PREFIX)
    assert sorted(adapters.surplus()) == sorted(names[: -adapters.MOST_EXACT])
    for name in adapters.surplus():
        adapters.forget(name)
    assert adapters.surplus() == []
    assert {path.name for path in (home / "adapters" / "exact").iterdir()} == set(names[3:])
    adapters.forget("none")
