"""The rows of a dataset as an expert will read them when it serves."""

import json
from pathlib import Path

from engine.datasets import service as datasets
from engine.flows.speak import Speaker, prompt_for
from engine.kit.database import unit_of_work


def write_rows(speaker: Speaker, dataset_id: str, folder: Path) -> tuple[Path, Path]:
    """Write the two splits of a dataset of the speaker's tenant into `folder` and return their paths.

    Each conversation stands as the speaker reads it, with the passages that its last question finds and in
    its prompt: a model answers best from the layout that it was trained on.
    """
    with unit_of_work() as uow:
        paths = datasets.materialise(uow, dataset_id, speaker.knowledge_tenant_id, folder)
    for path in paths:
        ground(path, speaker)
    return paths


def ground(path: Path, speaker: Speaker) -> None:
    """Bring a file of conversations, in place, to what the speaker would read."""
    if not speaker.knowledge_base_ids and not speaker.template:
        return
    lines = []
    # Not `splitlines`: rows may hold separators that only it takes for ends of lines.
    for line in path.read_text("utf-8").split("\n"):
        if not line:
            continue
        row = json.loads(line)
        *before, last = row["messages"]
        row["messages"] = [*prompt_for(speaker, before).messages, last]
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    path.write_text("".join(lines), "utf-8")
