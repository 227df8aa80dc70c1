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
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from engine.kit.blobs import blobs
from engine.kit.errors import BadInput, Conflict
from engine.kit.settings import settings

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
LARGEST_CONFIG = 64 * 2**10
LARGEST_HEADER = 8 * 2**20
LARGEST_WEIGHTS = 4 * 2**30
MOST_EXACT = 8
"""How many adapters that may be written again are kept beside those of finished trainings."""
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


@dataclass(frozen=True, kw_only=True)
class Exact:
    """An adapter where other bytes may be written later, by the SHA-256 of its two files as well.

    Other bytes are another adapter with another name, so no server answers with those it loaded before.
    """

    prefix: str
    config: str
    weights: str


Adapter = str | Exact
"""An adapter: the prefix under which it is stored for good, or exactly those bytes."""


def adapter_name(adapter: Adapter) -> str:
    """Return the served name of an adapter: readable, unique, safe."""
    prefix = _prefix_of(adapter)
    readable = re.sub(r"[^a-z0-9]+", "-", prefix.rsplit("/", 1)[-1].lower()).strip("-")[:40]
    told_apart = f"{prefix}\n{adapter.config}\n{adapter.weights}" if isinstance(adapter, Exact) else prefix
    return f"lora-{readable}-{hashlib.sha256(told_apart.encode()).hexdigest()[:12]}"


def _prefix_of(adapter: Adapter) -> str:
    return (adapter.prefix if isinstance(adapter, Exact) else adapter).strip("/")


def materialise(adapter: Adapter) -> Path:
    """Return the folder home/adapters/<name> with the adapter, fetched and checked if need be.

    An exact one lies in home/adapters/exact. Raises NotFound when a file is not stored, BadInput when it
    is not a plain LoRA adapter for our server, and Conflict when other bytes are stored than asked for.
    """
    parent = _exact_folder() if isinstance(adapter, Exact) else settings().home / "adapters"
    folder = (parent / adapter_name(adapter)).resolve()
    if (folder / CONFIG).is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    prefix = _prefix_of(adapter)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as name:
        new = Path(name) / "adapter"
        new.mkdir()
        config = _read(f"{prefix}/{CONFIG}")
        with blobs().open(f"{prefix}/{WEIGHTS}") as source, (new / WEIGHTS).open("wb") as out:
            shutil.copyfileobj(source, out, 2**20)
        if isinstance(adapter, Exact):
            _require_same(adapter, config, new / WEIGHTS)
        (new / CONFIG).write_text(_strict_config(config), "utf-8")
        check_weights(new / WEIGHTS)
        try:
            os.rename(new, folder)
        except OSError:
            if not (folder / CONFIG).is_file():
                raise
            # Another process was faster; both hold the same bytes.
    return folder


def surplus() -> list[str]:
    """Return the names of the exact adapters here beyond the MOST_EXACT that were fetched last."""
    if not _exact_folder().is_dir():
        return []
    kept = [path for path in _exact_folder().iterdir() if not path.name.startswith(".")]
    kept.sort(key=_fetched_at, reverse=True)
    return [path.name for path in kept[MOST_EXACT:]]


def _fetched_at(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:  # another process was faster
        return 0.0


def forget(name: str) -> None:
    """Delete the files of an exact adapter; a server that may still read them must have let go of it."""
    shutil.rmtree(_exact_folder() / name, ignore_errors=True)


def _exact_folder() -> Path:
    return settings().home / "adapters" / "exact"


def _require_same(adapter: Exact, config: bytes, weights: Path) -> None:
    with weights.open("rb") as file:
        found = (hashlib.sha256(config).hexdigest(), hashlib.file_digest(file, "sha256").hexdigest())
    if found != (adapter.config, adapter.weights):
        raise Conflict("inference.adapter_changed")


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
