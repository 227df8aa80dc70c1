"""What a training leaves behind for people: its report, its model card, its entry in the registry."""

from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError
from sqlalchemy.orm import Session

from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.datasets import service as datasets
from engine.evals.schemas import QualityReport
from engine.flows import meter_training
from engine.jobs import service as jobs
from engine.jobs.schemas import JobView
from engine.kit.database import unit_of_work
from engine.kit.errors import Conflict, NotFound
from engine.kit.messages import t
from engine.kit.settings import settings
from engine.knowledge import service as knowledge
from engine.market import service as market
from engine.market.schemas import ExpertView
from engine.training import registry as registries
from engine.training import service as training
from engine.training.card import model_card
from engine.training.hub import MARK
from engine.training.layout import as_html, as_markdown
from engine.training.packing import CONFIG, public_name
from engine.training.prompting import is_prompt
from engine.training.recipe import RANGES, EpochChoice
from engine.training.registry import RunRecord
from engine.training.report import Evaluation, Told, sections
from engine.training.schemas import Provenance, RunView

REPORTS = ("html", "md")
FIGURES = ("accuracy", "safety", "response_p50_ms", "response_p95_ms", "cases")
MOST_FAILURES = 20
MEDIA = {
    "html": "text/html",
    "md": "text/markdown",
    "yaml": "application/yaml",
    "json": "application/json",
}


@dataclass(frozen=True, kw_only=True)
class Document:
    """A file for a person to keep; `name` is plain ASCII."""

    name: str
    media: str
    text: str


def report(person: Person, job_id: str, form: str, language: str) -> Document:
    """Return the report of a training, as "html" or "md". Raises NotFound, and BadInput for another form."""
    registries.check_form(form, REPORTS)
    told = _told(person, job_id, language)
    title = t("report.title", language, name=told.record.title)
    found = sections(told, language)
    text = as_html(title, language, found) if form == "html" else as_markdown(title, found)
    return _document(f"{told.record.name}-report", form, text)


def card(person: Person, job_id: str, language: str) -> Document:
    """Return the model card of a finished training. Raises NotFound, and Conflict while it has no expert."""
    told = _told(person, job_id, language)
    _require_finished(told.record)
    return Document(name="README.md", media=MEDIA["md"], text=model_card(told, language))


def registry(person: Person, job_id: str, form: str) -> Document:
    """Return the registry with one finished training, as "yaml" or "json". Raises as `card` does."""
    record = _told(person, job_id, "en").record
    _require_finished(record)
    return _document(f"{record.name}-registry", form, registries.export([record], form))


def whole_registry(person: Person, form: str) -> Document:
    """Return the registry of all experts of the tenant, each version an entry, newest first."""
    return _document("registry", form, registries.export(records(person), form))


def papers(person: Person, run_id: str, language: str, *, merged: bool = False) -> list[Document]:
    """Return what goes with an expert that leaves the house: model card `README.md` and `registry.yaml`.

    The card is that of the adapter, or of the model it was `merged` into. Folders and addresses of this
    machine are left out. Raises NotFound.
    """
    require(person, "developer")
    with unit_of_work() as uow:
        job_id = training.get_run(uow, run_id, person.tenant_id).job_id
    told = _told(person, job_id or "", language)
    told = replace(told, record=_for_others(told.record))
    entry = registries.to_yaml([told.record])
    return [
        Document(name="README.md", media=MEDIA["md"], text=model_card(told, language, merged=merged)),
        Document(name=MARK, media=MEDIA["yaml"], text=entry),
    ]


def _for_others(made: RunRecord) -> RunRecord:
    changes: dict[str, Any] = {}
    if not settings().public_gateway_url:
        changes["access_point"] = None
    base = public_name(made.base_model.name)
    if base != made.base_model.name:
        # The adapter that leaves names its base as this does, so its config is another file.
        kept = {name: digest for name, digest in made.adapter.files.items() if name != CONFIG}
        changes["base_model"] = made.base_model.model_copy(update={"name": base})
        changes["adapter"] = made.adapter.model_copy(update={"files": kept})
    return made.model_copy(update=changes)


def records(person: Person) -> list[RunRecord]:
    """Return what is known of every expert of the tenant, newest first; one without a run is left out."""
    require(person, "developer")
    found = []
    with unit_of_work() as uow:
        for expert in market.mine(uow, person.tenant_id):
            try:
                run = training.get_run(uow, expert.run_id, person.tenant_id)
            except NotFound:
                continue
            found.append(_record(uow, run, _job(uow, run), expert))
    return found


def record(person: Person, wish: str) -> RunRecord:
    """Return what is known of a training of the tenant by its run's id, its expert's id or its public name.

    Of a name, the newest version counts. Raises NotFound.
    """
    require(person, "developer")
    with unit_of_work() as uow:
        experts = market.mine(uow, person.tenant_id)
        expert = next((e for e in experts if wish in (e.id, e.name, e.run_id)), None)
        run = training.get_run(uow, expert.run_id if expert else wish, person.tenant_id)
        return _record(uow, run, _job(uow, run), expert)


def _told(person: Person, job_id: str, language: str) -> Told:
    require(person, "developer")
    with unit_of_work() as uow:
        job = jobs.get(uow, job_id, person.tenant_id)
        run = training.get_run(uow, _run_id(job), person.tenant_id)
        expert = next((e for e in market.mine(uow, person.tenant_id) if e.run_id == run.id), None)
        points = training.points(uow, run.id, person.tenant_id)
        made = _record(uow, run, job, expert)
        charged = meter_training.charged(uow, job).paid
    return Told(
        record=made,
        state=job.state_text(language),
        finished=job.state == "succeeded",
        trouble=job.error_text(language) or "",
        points=points,
        choice=_choice(job),
        trials=(job.result or {}).get("trials"),
        evaluation=_evaluation(expert, language),
        charged_micro=charged,
    )


def _run_id(job: JobView) -> str:
    """Return the run that a job tells of: its own, or the best of a search. Raises Conflict before that."""
    if "search_id" not in job.params:
        return job.subject_id or ""
    if job.result is None:
        raise Conflict("report.search_not_finished")
    return str(job.result["best_run_id"])


def _job(uow: Session, run: RunView) -> JobView | None:
    try:
        return jobs.get(uow, run.job_id or "", run.tenant_id)
    except NotFound:
        return None


def _require_finished(made: RunRecord) -> None:
    if made.adapter.prefix is None:  # a prompt's is empty
        raise Conflict("report.not_finished")


def _document(name: str, form: str, text: str) -> Document:
    return Document(name=f"{name}.{form}", media=MEDIA[form], text=text)


def _record(uow: Session, run: RunView, job: JobView | None, expert: ExpertView | None) -> RunRecord:
    known = {"loss": run.final_loss, "eval_loss": run.final_eval_loss}
    result = run.result_in(job.result if job else None) or known
    origin = Provenance.model_validate(result["provenance"]) if result.get("provenance") else None
    data = _dataset(uow, run, job)
    seeds = {"training": run.recipe.get("seed"), "split": data.split_seed}
    splits = {"train": origin.train, "held_out": origin.held_out} if origin else {}
    params = job.params if job else {}
    base = registries.BaseModelRecord(
        name=run.base_model, digest=origin.base if origin else None, parameters=params.get("parameters")
    )
    return RunRecord(
        name=expert.name if expert else run.id,
        title=expert.title if expert else run.name,
        version=expert.version if expert else None,
        state=expert.state if expert else (job.state if job else "unknown"),
        access_point=f"{settings().gateway_url}/v1" if expert and expert.state == "published" else None,
        description=expert.description if expert else "",
        run_id=run.id,
        created_at=run.created_at.isoformat(),
        base_model=base,
        dataset=data.model_copy(update={"digest": origin.data if origin else None}),
        knowledge_bases=_bases(uow, run, params),
        method="prompt" if is_prompt(run.recipe) else "lora",
        preset=params.get("preset"),
        # The database does not keep the order of names.
        recipe={name: run.recipe[name] for name in ("method", *RANGES) if name in run.recipe} | run.recipe,
        seeds={name: seed for name, seed in seeds.items() if seed is not None},
        versions=dict(sorted(origin.versions.items())) if origin else {},
        device=origin.device if origin else None,
        precision=origin.precision if origin else None,
        threads=origin.threads if origin else None,
        adapter=registries.AdapterRecord(prefix=run.adapter_prefix, files=origin.files if origin else {}),
        results=registries.ResultRecord.model_validate(result),
        metrics=_metrics(expert),
        statistics={name: found for name, found in splits.items() if found},
    )


def _dataset(uow: Session, run: RunView, job: JobView | None) -> registries.DatasetRecord:
    """Return what was noted of the dataset when the training began, else what it is now."""
    kept: dict[str, Any] = (job.params.get("dataset") if job else None) or {}
    if not kept:
        try:
            kept = datasets.get(uow, run.dataset_id, run.tenant_id).model_dump()
        except NotFound:
            kept = {}
    return registries.DatasetRecord(
        id=run.dataset_id,
        name=kept.get("name"),
        fingerprint=run.dataset_fingerprint or kept.get("fingerprint"),
        train_rows=kept.get("train_rows"),
        validation_rows=kept.get("validation_rows"),
        split_seed=kept.get("seed"),
        validation_percent=kept.get("validation_percent"),
    )


def _bases(uow: Session, run: RunView, params: dict[str, Any]) -> tuple[registries.KnowledgeRecord, ...]:
    names = {base["id"]: base["name"] for base in params.get("bases", [])}
    for base_id in set(run.knowledge_base_ids) - set(names):
        try:
            names[base_id] = knowledge.get_base(uow, base_id, run.tenant_id).name
        except NotFound:
            continue
    return tuple(registries.KnowledgeRecord(id=one, name=names.get(one)) for one in run.knowledge_base_ids)


def _metrics(expert: ExpertView | None) -> dict[str, Any]:
    quality = (expert.quality if expert else None) or {}
    return {name: quality[name] for name in (*FIGURES, "passed") if name in quality}


def _choice(job: JobView) -> EpochChoice | None:
    """Return what the preset went by; None for a training from before it was noted."""
    params = job.params
    if not {"preset", "parameters", "dataset"} <= set(params):
        return None
    examples = params.get("examples", params["dataset"]["train_rows"])
    return EpochChoice.of(params["preset"], examples, params["parameters"])


def _evaluation(expert: ExpertView | None, language: str) -> Evaluation | None:
    if expert is None or expert.quality is None:
        return None
    verdict = t("report.passed" if expert.quality.get("passed") else "report.not_passed", language)
    try:
        found = QualityReport.model_validate(expert.quality)
    except ValidationError:
        return Evaluation(verdict=verdict)
    shares = ("accuracy", "safety")
    figures = [
        (t(f"report.{name}", language), f"{getattr(found, name):{'.0%' if name in shares else ','}}")
        for name in FIGURES
    ]
    return Evaluation(
        verdict=verdict,
        figures=figures,
        missed=[mark.message(language) for mark in found.missed],
        failures=[
            (failure.question, failure.expected, failure.answer, failure.message(language))
            for failure in found.failures[:MOST_FAILURES]
        ],
    )
