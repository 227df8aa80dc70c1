"""What a person reads about a training: the sections of its report, in English or Chinese."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from engine.kit.messages import t
from engine.kit.money import format_credits
from engine.training.drawing import curve_svg, curve_words, lines
from engine.training.layout import Section, Table
from engine.training.recipe import RANGES, EpochChoice
from engine.training.registry import RunRecord
from engine.training.schemas import Point, RowStatistics, Spread

MOST_MEASURED = 12
"""Rows of the table beside the curve."""

NAMED = {*RANGES, "method", "template"}
NONE = "–"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A quality check in words: whether it was passed, its figures, the marks that it missed, and the
    questions that were answered wrong as (question, expected, answer, why)."""

    verdict: str
    figures: Sequence[tuple[str, str]] = ()
    missed: Sequence[str] = ()
    failures: Sequence[tuple[str, str, str, str]] = ()


@dataclass(frozen=True, kw_only=True)
class Told:
    """Everything that a report tells. `state` and `trouble`, why it failed, are in the reader's words.

    `choice` is what the preset went by, None where that was not written down; `evaluation` is None for an
    expert that was not tested. `trials` is how many a search made whose best one this is;
    `charged_micro` is what its machine time was charged, in micro-credits.
    """

    record: RunRecord
    state: str
    finished: bool
    trouble: str = ""
    points: Sequence[Point] = field(default=())
    choice: EpochChoice | None = None
    trials: int | None = None
    evaluation: Evaluation | None = None
    charged_micro: int = 0


def sections(told: Told, language: str) -> list[Section]:
    """Return the sections of a report; one that has nothing to tell is left out."""
    found = [
        _overview(told, language),
        _data(told.record, language),
        _recipe(told, language),
        _curve(told, language),
        _outcome(told.record, told.charged_micro, language),
        _evaluation(told, language),
        _origin(told.record, language),
    ]
    return [section for section in found if section.sentences or section.tables or section.drawing]


def method_words(record: RunRecord, language: str) -> str:
    """Return how an expert was made."""
    if record.method == "prompt":
        return t("report.method_prompt", language)
    return f"LoRA, {str(record.recipe.get('method', 'sft')).upper()}"


def epochs_reason(record: RunRecord, choice: EpochChoice | None, language: str) -> str:
    """Return how many epochs the run has and why."""
    epochs = record.recipe.get("epochs", NONE)
    if choice is None:
        return t("report.epochs_unknown", language, epochs=epochs)
    reason = choice.reason(language)
    if epochs == choice.epochs:
        return t("report.epochs_preset", language, epochs=epochs, reason=reason)
    return t("report.epochs_own", language, epochs=epochs, preset=choice.epochs, reason=reason)


def _overview(told: Told, language: str) -> Section:
    record = told.record
    bases = ", ".join(base.name or base.id for base in record.knowledge_bases)
    parameters = record.base_model.parameters
    base = record.base_model.name
    if parameters:
        base = t("report.base_sized", language, base=base, weights=f"{parameters:,}")
    facts = _table(
        language,
        ("state", told.state),
        ("expert", f"{record.name} {record.version}" if record.version else ""),
        ("access_point", record.access_point or ""),
        ("description", record.description),
        ("base_model", base),
        ("method", method_words(record, language)),
        ("knowledge_bases", bases or t("report.no_knowledge", language)),
        ("created", record.created_at[:19].replace("T", " ") + " UTC"),
        ("run", record.run_id),
    )
    return Section(sentences=[told.trouble] if told.trouble else [], tables=[facts])


def _data(record: RunRecord, language: str) -> Section:
    data = record.dataset
    facts = _table(
        language,
        ("dataset", data.name or t("report.dataset_gone", language)),
        ("train_rows", _number(data.train_rows)),
        ("held_out_rows", _number(data.validation_rows)),
        ("fingerprint", data.fingerprint or ""),
    )
    known = [
        (split, record.statistics[split]) for split in ("train", "held_out") if split in record.statistics
    ]
    tables = [facts]
    if known:
        headers = ["", *(t(f"report.{split}", language) for split, _ in known)]
        tables.append(Table(headers=headers, rows=_distribution([found for _, found in known], language)))
    note = [t("report.distribution_note", language)] if known else []
    return Section(heading=t("report.data", language), sentences=note, tables=tables)


def _distribution(splits: Sequence[RowStatistics], language: str) -> list[list[str]]:
    spoken = list(dict.fromkeys(name for split in splits for name in split.languages))
    rows = [
        [t("report.rows", language), *(_number(split.rows) for split in splits)],
        [t("report.answers", language), *(_number(split.answers) for split in splits)],
        [t("report.turns", language), *(_spread(split.turns, language) for split in splits)],
        [t("report.prompt_length", language), *(_spread(split.prompt, language) for split in splits)],
        [t("report.answer_length", language), *(_spread(split.answer, language) for split in splits)],
    ]
    for name in spoken:
        label = t("report.language_rows", language, language=t(f"report.language_{name}", language))
        shares = (_share(split.languages.get(name, 0), split.rows) for split in splits)
        rows.append([label, *shares])
    return rows


def _share(count: int, rows: int) -> str:
    return f"{count:,} ({count / rows:.0%})"


def _spread(spread: Spread, language: str) -> str:
    return t(
        "report.spread",
        language,
        least=f"{spread.least:,}",
        median=f"{spread.median:,g}",
        p95=f"{spread.p95:,}",
        most=f"{spread.most:,}",
    )


def _recipe(told: Told, language: str) -> Section:
    record = told.record
    rows = [
        [t(f"report.field_{name}", language) if name in NAMED else "", name, f"{value}"]
        for name, value in record.recipe.items()
    ]
    headers = [t(f"report.{key}", language) for key in ("value_meaning", "value_name", "value")]
    table = Table(headers=headers, rows=rows)
    if record.method == "prompt":
        return Section(heading=t("report.prompt", language), tables=[table])
    steps, epochs = record.results.steps, record.recipe.get("epochs")
    if told.trials:
        sentences = [t("report.epochs_searched", language, trials=told.trials)]
    else:
        sentences = [epochs_reason(record, told.choice, language)]
    if steps and epochs:
        sentences.append(
            t("report.steps", language, steps=f"{steps:,}", per_epoch=f"{steps // epochs:,}", epochs=epochs)
        )
    return Section(heading=t("report.recipe", language), sentences=sentences, tables=[table])


def _curve(told: Told, language: str) -> Section:
    drawing = curve_svg(told.points, language)
    if not drawing:
        return Section()
    return Section(
        heading=t("report.curve", language),
        sentences=[curve_words(told.points, told.finished, language)],
        drawing=drawing,
        tables=[_measured(told.points, language)],
    )


def _measured(points: Sequence[Point], language: str) -> Table:
    """Return the curve in a few rows: where the held-out rows were measured, else evenly."""
    train, held_out = lines(points)
    steps = [step for step, _ in held_out or train]
    every = -(-len(steps) // MOST_MEASURED)
    kept = sorted({*steps[::-every], steps[0]})
    by_step = {point.step: point for point in points}
    rows = [
        [f"{step:,}", f"{by_step[step].epoch:.2f}", _loss(by_step[step].loss), _loss(by_step[step].eval_loss)]
        for step in kept
    ]
    headers = [t(f"report.{key}", language) for key in ("step", "epoch", "loss", "eval_loss")]
    return Table(headers=headers, rows=rows)


def _outcome(record: RunRecord, charged: int, language: str) -> Section:
    results = record.results
    speed = results.tokens / results.seconds if results.tokens and results.seconds else None
    facts = _table(
        language,
        ("final_loss", _loss(results.loss)),
        ("final_eval_loss", _loss(results.eval_loss)),
        ("seconds", f"{results.seconds:,.1f}" if results.seconds is not None else ""),
        ("tokens", _number(results.tokens)),
        ("speed", f"{speed:,.0f}" if speed else ""),
        ("charged", t("money.unit", language, amount=format_credits(charged)) if charged else ""),
    )
    measured = bool(charged) or any(value is not None for value in results.model_dump().values())
    return Section(heading=t("report.outcome", language), tables=[facts] if measured else [])


def _evaluation(told: Told, language: str) -> Section:
    found = told.evaluation
    if found is None:
        words = [t("report.not_tested", language)] if told.finished else []
        return Section(heading=t("report.evaluation", language), sentences=words)
    tables = [Table(rows=[list(figure) for figure in found.figures])] if found.figures else []
    if found.failures:
        headers = [t(f"report.{key}", language) for key in ("question", "expected", "answer", "why")]
        tables.append(Table(headers=headers, rows=[list(failure) for failure in found.failures]))
    return Section(
        heading=t("report.evaluation", language), sentences=[found.verdict, *found.missed], tables=tables
    )


def _origin(record: RunRecord, language: str) -> Section:
    """Return what a repetition is compared with."""
    device = ", ".join(filter(None, (record.device, record.precision)))
    if record.threads:
        device = t("report.device_threads", language, device=device, threads=record.threads)
    facts = _table(
        language,
        ("base_digest", record.base_model.digest or ""),
        ("data_digest", record.dataset.digest or ""),
        ("device", device),
        ("versions", ", ".join(f"{name} {number}" for name, number in record.versions.items())),
    )
    files = Table(rows=[*facts.rows, *([name, digest] for name, digest in record.adapter.files.items())])
    if not record.versions:
        return Section()
    repeat = [] if record.method == "prompt" else [t("report.repeat", language, run=record.run_id)]
    return Section(heading=t("report.origin", language), sentences=repeat, tables=[files])


def _table(language: str, *facts: tuple[str, str]) -> Table:
    """Return facts, (key of the label, value), as a table; empty ones are left out."""
    return Table(rows=[[t(f"report.{key}", language), value] for key, value in facts if value])


def _number(value: int | None) -> str:
    return NONE if value is None else f"{value:,}"


def _loss(value: float | None) -> str:
    return NONE if value is None else f"{value:.4f}"
