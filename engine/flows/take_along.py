"""Taking an expert along: merged into a plain model folder, as a file, or in a repository on a hub."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session
from zipstream import ZIP_STORED, ZipStream

from engine.accounts import service as accounts
from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.flows import plan_limits, report_training
from engine.jobs import service as jobs
from engine.jobs.schemas import JobView
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, Conflict, NotFound
from engine.kit.logs import logger
from engine.kit.settings import settings
from engine.market import service as market
from engine.market.schemas import ExpertView
from engine.training import hub, packing
from engine.training.packing import MergedModel, MergeOrder

MERGE = "training.merge"
PARTS = ("adapter", "merged")
ADAPTER_NAMES = (packing.CONFIG, packing.WEIGHTS)
MODEL_NAMES = (
    "config.json",
    "generation_config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "tokenizer*",
    "chat_template.jinja",
    "special_tokens_map.json",
)
"""Names of files that one push leaves in a repository and the next may not have. They must not stay: beside
an adapter's files, a merged model is loaded with the adapter on top of it once more."""


@dataclass(frozen=True, kw_only=True)
class Merged:
    """How far an expert's merged model is: the newest merge, and the model once it is whole."""

    job: JobView | None
    model: MergedModel | None

    @property
    def under_way(self) -> bool:
        """True while a merge has not ended."""
        return self.job is not None and not self.job.finished


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A zip that is made while it is read; `size` in bytes, `name` is plain ASCII."""

    name: str
    size: int
    pieces: Iterator[bytes]


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """What arrived: the repository, its address, and the files."""

    repo: str
    address: str
    files: list[str]


def find(person: Person, wish: str) -> ExpertView:
    """Return an expert of the tenant by its id, its run's id, or, the newest, its name. Raises NotFound."""
    require(person, "developer")
    with unit_of_work() as uow:
        for expert in market.mine(uow, person.tenant_id):
            if wish in (expert.id, expert.run_id, expert.name):
                return expert
    raise NotFound("market.unknown_expert", id=wish[:40])


def merge(person: Person, expert_id: str) -> JobView:
    """Submit the merging of an expert of the tenant with its base model.

    Raises NotFound, Conflict while one is under way or when there is no adapter to merge, and Forbidden when
    the month's hours are used up.
    """
    expert = _trained(_own(person, expert_id))
    made = report_training.record(person, expert.id)
    order = MergeOrder(
        run_id=expert.run_id,
        adapter_prefix=expert.adapter_prefix,
        base_model=expert.base_model,
        base_digest=made.base_model.digest,
        files=made.adapter.files,
    )
    with unit_of_work() as uow:
        accounts.held_plan(uow, person.tenant_id)
        _require_idle(_newest(uow, person, expert.id))
        plan_limits.require_time(uow, person.tenant_id)
        return jobs.submit(
            uow,
            kind=MERGE,
            person_id=person.id,
            tenant_id=person.tenant_id,
            title=expert.title,
            subject_id=expert.id,
            params=order.model_dump(),
            queue="low",
            resource="other",
        )


def merged(person: Person, expert_id: str) -> Merged:
    """Return how far the merged model of an expert of the tenant is. Raises NotFound."""
    expert = _own(person, expert_id)
    with unit_of_work() as uow:
        job = _newest(uow, person, expert.id)
    return Merged(job=job, model=packing.merged_model(expert.run_id))


def download(person: Person, expert_id: str, language: str) -> Archive:
    """Return the merged model with card and registry entry as one zip, stored without compression.

    The zip breaks off when a file is not what was stored. Raises NotFound, and Conflict without a model.
    """
    expert = _own(person, expert_id)
    model = _whole(expert)
    name = f"{expert.name}-{expert.version}"
    archive = ZipStream(compress_type=ZIP_STORED, sized=True)
    for paper in report_training.papers(person, expert.run_id, language, merged=True):
        archive.add(paper.text.encode(), f"{name}/{paper.name}")
    prefix = packing.merged_prefix(expert.run_id)
    for file, stored in model.files.items():
        source = packing.pieces(f"{prefix}/{file}", stored.sha256)
        archive.add(source, f"{name}/{file}", size=stored.size)
    return Archive(name=f"{name}.zip", size=len(archive), pieces=iter(archive))


def push(
    person: Person,
    expert_id: str,
    *,
    repo: str,
    token: str,
    private: bool = True,
    what: str = "adapter",
    language: str = "en",
    seen: hub.Seen = lambda done, total: None,
) -> Pushed:
    """Send an expert of the tenant to `repo` on the hub as one commit: adapter or merged model, with card
    and registry entry.

    `token` is used for this and kept nowhere. A private push into a public repository is refused. Raises
    NotFound, BadInput naming the field, Conflict without a merged model or an adapter, and what `hub.send`
    raises.
    """
    expert = _trained(_own(person, expert_id))
    repo, token = hub.checked_repo(repo), hub.checked_token(token)
    if what not in PARTS:
        raise BadInput("takealong.unknown_part", field="what", value=what[:40], allowed=", ".join(PARTS))
    outgoing = settings().home / "outgoing"
    outgoing.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=outgoing) as name:
        folder = Path(name)
        _collect(person, expert, what, folder, language)
        files = sorted(path.name for path in folder.iterdir())
        hub.send(
            folder,
            repo,
            token=token,
            private=private,
            message=f"{expert.name} {expert.version} ({what})",
            ours=(*ADAPTER_NAMES, *MODEL_NAMES),
            seen=seen,
        )
    logger(__name__).info("expert pushed", expert=expert.id, person=person.id, repo=repo, part=what)
    return Pushed(repo=repo, address=hub.address(repo), files=files)


def _collect(person: Person, expert: ExpertView, what: str, folder: Path, language: str) -> None:
    """Write everything that is pushed into `folder`."""
    papers = report_training.papers(person, expert.run_id, language, merged=what == "merged")
    if what == "merged":
        packing.fetch_merged(expert.run_id, _whole(expert), folder)
    else:
        hashes = report_training.record(person, expert.id).adapter.files
        packing.fetch_adapter(expert.adapter_prefix, hashes, folder)
        packing.tell_publicly(expert.base_model, folder)
    for paper in papers:
        (folder / paper.name).write_text(paper.text, "utf-8")


def _own(person: Person, expert_id: str) -> ExpertView:
    require(person, "developer")
    with unit_of_work() as uow:
        expert = market.get(uow, expert_id, viewer=person)
    if expert.tenant_id != person.tenant_id:
        raise NotFound("market.unknown_expert", id=expert_id[:40])
    return expert


def _trained(expert: ExpertView) -> ExpertView:
    if not expert.adapter_prefix:
        raise Conflict("takealong.is_prompt", title=expert.title)
    return expert


def _whole(expert: ExpertView) -> MergedModel:
    model = packing.merged_model(expert.run_id)
    if model is None:
        raise Conflict("takealong.not_merged", title=expert.title)
    return model


def _newest(uow: Session, person: Person, expert_id: str) -> JobView | None:
    found = jobs.listing(uow, person.tenant_id, kinds=(MERGE,), subject_id=expert_id, limit=1)
    return found[0] if found else None


def _require_idle(job: JobView | None) -> None:
    if job is not None and not job.finished:
        raise Conflict("takealong.under_way", title=job.title)
