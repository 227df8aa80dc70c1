"""LoRA adapters out of the object store, trusted only after a look.

An adapter is two blobs: `adapter_model.safetensors` and `adapter_config.json`. Nothing else is
ever fetched. The weights must be plain LoRA matrices; the config is written anew from the few
fields that a server needs, so nothing that a stranger put into it reaches the model server.
"""

import hashlib
import json
import os
import re
import shutil
import struct
import tempfile
from pathlib import Path
from typing import Annotated, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from engine.kit.blobs import blobs
from engine.kit.errors import BadInput
from engine.kit.settings import settings

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
LARGEST_CONFIG = 64 * 2**10
LARGEST_HEADER = 8 * 2**20
LARGEST_WEIGHTS = 4 * 2**30
_WEIGHT_NAME = re.compile(r"^base_model\.model\.[A-Za-z0-9_.]{1,300}\.lora_[AB]\.weight$")
_DTYPES = {"F32", "F16", "BF16"}

_PlainName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.]{1,100}$")]


class _LoraFields(BaseModel):
    """The fields of a PEFT LoraConfig that we pass on; others are dropped, these are checked."""

    model_config = ConfigDict(extra="ignore", strict=True)

    peft_type: Literal["LORA"]
    task_type: Literal["CAUSAL_LM"]
    r: int = Field(ge=1)
    lora_alpha: float = Field(gt=0, le=65536)
    target_modules: list[_PlainName] = Field(min_length=1, max_length=500)
    bias: Literal["none"] = "none"
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    use_rslora: bool = False
    fan_in_fan_out: Literal[False] = False
    # These change what the matrices mean, and servers do not support them.
    use_dora: Literal[False] = False
    modules_to_save: None = None
    rank_pattern: dict[str, int] = Field({}, max_length=0)
    alpha_pattern: dict[str, float] = Field({}, max_length=0)


def adapter_name(adapter_prefix: str) -> str:
    """Return the served name of the adapter stored under the prefix: readable, unique, safe."""
    prefix = adapter_prefix.strip("/")
    readable = re.sub(r"[^a-z0-9]+", "-", prefix.rsplit("/", 1)[-1].lower()).strip("-")[:40]
    return f"lora-{readable}-{hashlib.sha256(prefix.encode()).hexdigest()[:12]}"


def materialise(adapter_prefix: str) -> Path:
    """Return the folder home/adapters/<name> with the adapter, fetched and checked if need be.

    Raises NotFound when a file is not stored, and BadInput when it is not a plain LoRA adapter
    for our server.
    """
    folder = (settings().home / "adapters" / adapter_name(adapter_prefix)).resolve()
    if (folder / CONFIG).is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    prefix = adapter_prefix.strip("/")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as name:
        new = Path(name) / "adapter"
        new.mkdir()
        (new / CONFIG).write_text(_strict_config(_read(f"{prefix}/{CONFIG}")), "utf-8")
        with blobs().open(f"{prefix}/{WEIGHTS}") as source, (new / WEIGHTS).open("wb") as out:
            shutil.copyfileobj(source, out, 2**20)
        check_weights(new / WEIGHTS)
        try:
            os.rename(new, folder)
        except OSError:
            if not (folder / CONFIG).is_file():
                raise
            # Another process was faster; both hold the same bytes.
    return folder


def _read(key: str) -> bytes:
    with blobs().open(key) as source:
        raw = source.read(LARGEST_CONFIG + 1)
    if len(raw) > LARGEST_CONFIG:
        raise BadInput("inference.bad_adapter", field=CONFIG)
    return raw


def _strict_config(raw: bytes) -> str:
    try:
        fields = _LoraFields.model_validate_json(raw)
    except ValidationError as error:
        at_fault = error.errors()[0]["loc"]
        raise BadInput("inference.bad_adapter", field=".".join(map(str, at_fault)) or CONFIG) from error
    if fields.r > settings().max_lora_rank:
        raise BadInput("inference.rank_too_large", field="r", rank=fields.r, most=settings().max_lora_rank)
    config = {**fields.model_dump(), "base_model_name_or_path": settings().base_model, "inference_mode": True}
    return json.dumps(config, indent=2)


def check_weights(path: Path) -> None:
    """Check that a safetensors file holds LoRA matrices only, and exactly as many bytes as it says.

    Format: 8 bytes little-endian length of the header, the header in JSON, then the data.
    Raises BadInput.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int(struct.unpack("<Q", file.read(8))[0]) if size >= 8 else 0
        if not 2 <= length <= LARGEST_HEADER or 8 + length > size or size > LARGEST_WEIGHTS:
            raise BadInput("inference.bad_adapter", field=WEIGHTS)
        try:
            header = json.loads(file.read(length))
        except ValueError as error:
            raise BadInput("inference.bad_adapter", field=WEIGHTS) from error
    if not isinstance(header, dict):
        raise BadInput("inference.bad_adapter", field=WEIGHTS)
    header.pop("__metadata__", None)
    ends = [_end_of_tensor(name, entry) for name, entry in header.items()]
    if not ends or max(ends) != size - 8 - length:
        raise BadInput("inference.bad_adapter", field=WEIGHTS)


def _end_of_tensor(name: str, entry: object) -> int:
    fits = isinstance(entry, dict) and _WEIGHT_NAME.match(name) and entry.get("dtype") in _DTYPES
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    if not fits or not isinstance(offsets, list) or len(offsets) != 2:
        raise BadInput("inference.bad_adapter", field=name[:80])
    if not all(isinstance(offset, int) for offset in offsets):
        raise BadInput("inference.bad_adapter", field=name[:80])
    return cast(int, offsets[1])
