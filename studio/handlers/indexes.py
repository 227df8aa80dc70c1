"""The indexes page: the index that answers, a second one beside it, and earlier states."""

from dataclasses import dataclass

import plotly.graph_objects as go

from engine.accounts.schemas import Person
from engine.flows import compare_indexes as flow
from engine.flows import prepare_knowledge
from engine.jobs.schemas import JobView
from engine.kit.errors import BadInput
from studio.views import indexes as views

TARGETS = (40, 80, 120, 160, 200)


@dataclass(frozen=True, kw_only=True)
class Overview:
    """The page as it is now. `kept` are (words, version) of the states that can be restored."""

    head: str
    table: str
    bars: go.Figure | None
    second: bool
    ready: bool
    job: JobView | None
    restoring: JobView | None
    kept: list[tuple[str, int]]


def embedders(language: str) -> list[tuple[str, str]]:
    """Return (words, name) of the embedding models that an index can be built with."""
    return [(views.embedder_name(name, language), name) for name in flow.embedders()]


def targets(language: str) -> list[tuple[str, int]]:
    """Return (words, tokens) of the lengths that passages can have."""
    return [(views.target_words(tokens, language), tokens) for tokens in TARGETS]


def overview(person: Person, base_id: str, language: str) -> Overview:
    """Return both indexes and the states that are kept. Raises NotFound."""
    base = prepare_knowledge.base(person, base_id)
    found = flow.comparison(person, base_id)
    moving = found.job is not None and found.job.state in prepare_knowledge.UNFINISHED
    return Overview(
        head=views.head(base, language),
        table=views.table(found, language),
        bars=views.bars(found, language),
        second=found.other is not None,
        ready=found.other is not None and not found.lacking and not moving,
        job=found.job,
        restoring=prepare_knowledge.latest_job(person, base_id, prepare_knowledge.RESTORE),
        kept=kept(person, base_id, language),
    )


def kept(person: Person, base_id: str, language: str) -> list[tuple[str, int]]:
    """Return (words, version) of the states that the index in use can go back to. Raises NotFound."""
    found = prepare_knowledge.snapshots(person, base_id)
    return [(views.snapshot_words(one, language), one.version) for one in found]


def build(person: Person, base_id: str, embedder: str | None, target_tokens: int | None) -> None:
    """Build a second index. Raises BadInput naming the field, Conflict."""
    if not embedder:
        raise BadInput("studio.choose_embedder", field="embedder")
    if not target_tokens:
        raise BadInput("studio.choose_target", field="target_tokens")
    flow.build(person, base_id, embedder=embedder, target_tokens=int(target_tokens))


def update(person: Person, base_id: str) -> None:
    """Have the second index get what came since. Raises NotFound, Conflict."""
    flow.update(person, base_id)


def compare(person: Person, base_id: str) -> None:
    """Ask the saved questions of both indexes. Raises BadInput without one."""
    flow.compare(person, base_id)


def switch(person: Person, base_id: str) -> None:
    """Answer from the second index from now on. Raises NotFound, Conflict."""
    flow.switch(person, base_id)


def discard(person: Person, base_id: str) -> None:
    """Remove the second index. Raises NotFound, Conflict."""
    flow.discard(person, base_id)


def restore(person: Person, base_id: str, version: int | None) -> None:
    """Go back to an earlier state of the index. Raises BadInput until one is chosen, NotFound, Conflict."""
    if not version:
        raise BadInput("studio.choose_snapshot", field="version")
    prepare_knowledge.start_restoring(person, base_id, int(version))
