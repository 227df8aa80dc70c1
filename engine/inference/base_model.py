"""Where the base model's files are: with the product, in a folder, or fetched from a hub once."""

import json
import math
import os
import re
from collections.abc import Iterable
from pathlib import Path

from engine.kit.errors import BadInput, NotFound, UpstreamFailed
from engine.kit.settings import REPOSITORY, settings

STARTER = REPOSITORY / "data" / "starter"
WANTED = ["*.safetensors", "*.json", "*.jinja", "tokenizer*", "vocab*", "merges.txt", "*.model"]
WANTED += ["LICENSE*", "LICENCE*", "NOTICE*"]  # they go with what is made of the model
PACKED = {"gate_proj": "gate_up_proj", "up_proj": "gate_up_proj"}
PACKED |= dict.fromkeys(("q_proj", "k_proj", "v_proj"), "qkv_proj")
_HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")


def resolve(name: str) -> Path:
    """Return the folder of a base model: "starter", a folder's path, or a hub id such as "org/model".

    A hub model is kept in home/models and found there again without the network. Only
    safetensors weights are accepted. Raises BadInput for a model we cannot serve, NotFound for
    one that does not exist, UpstreamFailed when the hub cannot be reached.
    """
    if name == "starter":
        return _checked(STARTER, name)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _checked(folder.resolve(), name)
    if not _HUB_ID.match(name):
        raise NotFound("inference.no_such_model", name=name)
    return _checked(_from_hub(name), name)


def context_length(folder: Path) -> int | None:
    """Return the longest context of the model in `folder`, in tokens, when its config tells."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    text = config.get("text_config") or config
    length = text.get("max_position_embeddings")
    return int(length) if length else None


def lora_modules(folder: Path) -> list[str]:
    """Return which parts of the model in `folder` an adapter may change, as vLLM calls them; [] for all.

    vLLM joins the three of attention and the first two of an MLP, and wants the names of what it joined.
    """
    config = json.loads((folder / "config.json").read_text("utf-8"))
    names = [str(name).rpartition(".") for name in config.get("lora_modules") or []]
    return sorted({f"{path}.{PACKED.get(part, part)}" for path, _, part in names})


def _checked(folder: Path, name: str) -> Path:
    if not (folder / "config.json").is_file():
        raise NotFound("inference.no_such_model", name=name)
    if not any(folder.glob("*.safetensors")):
        raise BadInput("inference.no_safetensors", field="base_model", name=name)
    if not _has_chat_template(folder):
        raise BadInput("inference.no_chat_template", field="base_model", name=name)
    return folder


def _has_chat_template(folder: Path) -> bool:
    if any(folder.glob("chat_template*")):
        return True
    config = folder / "tokenizer_config.json"
    return config.is_file() and bool(json.loads(config.read_text("utf-8")).get("chat_template"))


def _from_hub(name: str) -> Path:
    """Fetch a model, or return it when it was fetched whole before.

    The hub's cache does not tell a whole snapshot from one that was interrupted, so a note is
    left once all files are there; without it the download goes on where it stopped.
    """
    cache = (settings().home / "models").resolve()
    note = cache / f"{name.replace('/', '--')}.complete"
    if note.is_file() and (folder := cache / note.read_text("utf-8")).is_dir():
        return folder
    folder = _download(name, cache)
    new = note.with_suffix(".new")
    new.write_text(str(folder.relative_to(cache)), "utf-8")
    os.replace(new, note)
    return folder


def _download(name: str, cache: Path) -> Path:
    # Imported here: the hub's client is slow to import and most processes never need it.
    from httpx2 import HTTPError
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    cache.mkdir(parents=True, exist_ok=True)
    try:
        files = [sibling.rfilename for sibling in HfApi().model_info(name).siblings or []]
        _require_safetensors(files, name)
        return Path(snapshot_download(name, cache_dir=cache, allow_patterns=WANTED))
    except GatedRepoError as error:
        raise BadInput("inference.gated_model", field="base_model", name=name) from error
    except RepositoryNotFoundError as error:
        raise NotFound("inference.no_such_model", name=name) from error
    except (HTTPError, OSError) as error:
        raise UpstreamFailed("inference.hub_unreachable", name=name) from error


def _require_safetensors(files: Iterable[str], name: str) -> None:
    if not any(file.endswith(".safetensors") for file in files):
        raise BadInput("inference.no_safetensors", field="base_model", name=name)


def parameter_count(name: str) -> int:
    """Return how many weights a base model has, read from the headers of its safetensors files.

    Raises what `resolve` raises.
    """
    return sum(_weights_in(path) for path in resolve(name).glob("*.safetensors"))


def _weights_in(path: Path) -> int:
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return sum(math.prod(entry["shape"]) for key, entry in header.items() if key != "__metadata__")
