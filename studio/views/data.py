"""HTML of the data page."""

from collections.abc import Sequence
from html import escape
from typing import Any

from apps import cards
from engine.datasets.schemas import DatasetView, Preview, RowProblem
from engine.kit.messages import t

SHOWN_PROBLEMS = 20


def datasets(found: Sequence[DatasetView], language: str) -> str:
    """Return the table of datasets."""
    if not found:
        return cards.empty(t("studio.no_datasets", language))
    headers = [
        t(f"studio.{key}", language)
        for key in ("name", "layout", "train_rows", "validation_rows", "languages", "created")
    ]
    rows: list[list[cards.Cell]] = [
        [
            cards.link(f"/{language}/studio/data?dataset={dataset.id}", dataset.name),
            t(f"datasets.layout_{dataset.layout}", language),
            dataset.train_rows,
            dataset.validation_rows,
            languages(dataset, language),
            cards.moment(dataset.created_at, language),
        ]
        for dataset in found
    ]
    return cards.table(headers, rows, t("studio.tab_data", language))


def languages(dataset: DatasetView, language: str) -> str:
    """Return the languages of a dataset in words."""
    known = {"en", "zh", "mixed"}
    return ", ".join(
        t(f"studio.language_{code}", language) if code in known else code for code in dataset.languages
    )


def preview(seen: Preview, language: str) -> str:
    """Return what an import would do: layout, counts, problems."""
    counts = cards.tiles(
        [
            (t("studio.layout", language), seen.layout_name(language)),
            (t("studio.rows", language), f"{seen.rows:,}"),
            (t("studio.good_rows", language), f"{seen.good:,}"),
            (t("studio.bad_rows", language), f"{seen.rows - seen.good:,}"),
        ]
    )
    notes = "".join(cards.note(words) for words in seen.notes(language))
    return (
        f"<h2>{escape(seen.filename)}</h2>{counts}{notes}"
        f"{problems(seen.problems, seen.rows - seen.good, language)}"
    )


def problems(found: Sequence[RowProblem], total: int, language: str) -> str:
    """Return the rows that cannot be used, each with its number and the reason."""
    if not found:
        return ""
    headers = [t("studio.row", language), t("studio.reason", language)]
    rows: list[list[cards.Cell]] = [
        [problem.row, t(problem.reason, language, **problem.facts)] for problem in found[:SHOWN_PROBLEMS]
    ]
    more = ""
    if total > len(rows):
        more = (
            f'<p class="mbe-muted">{t("studio.more_problems", language, more=f"{total - len(rows):,}")}</p>'
        )
    title = t("studio.problems", language, count=f"{total:,}")
    return f"<h2>{title}</h2>{cards.table(headers, rows, title)}{more}"


def conversations(rows: Sequence[dict[str, Any]], language: str) -> str:
    """Return rows as speech bubbles, with what people thought of the last answer."""
    if not rows:
        return ""
    shown = "".join(f'<div class="mbe-card">{_row(row, language)}</div>' for row in rows)
    return f'<h2>{t("studio.first_rows", language)}</h2><div class="mbe-stack">{shown}</div>'


def _row(row: dict[str, Any], language: str) -> str:
    shown = cards.bubbles(row["messages"], language)
    if "rejected" in row:
        worse = cards.bubbles([{"role": "assistant", "content": row["rejected"]}], language)
        return (
            shown + _verdict("preferred", True, language) + worse + _verdict("not_preferred", False, language)
        )
    if "label" in row:
        return shown + _verdict("found_good" if row["label"] else "found_bad", row["label"], language)
    return shown


def _verdict(key: str, good: bool, language: str) -> str:
    return cards.state(t(f"studio.{key}", language), "good" if good else "bad").text


def detail(dataset: DatasetView, sample: Sequence[dict[str, Any]], language: str) -> str:
    """Return everything about one dataset."""
    counts = cards.tiles(
        [
            (t("studio.train_rows", language), f"{dataset.train_rows:,}"),
            (t("studio.validation_rows", language), f"{dataset.validation_rows:,}"),
            (t("studio.skipped_rows", language), f"{dataset.skipped_rows:,}"),
            (t("studio.languages", language), languages(dataset, language)),
        ]
    )
    facts = t(
        "studio.dataset_facts",
        language,
        filename=dataset.filename,
        layout=t(f"datasets.layout_{dataset.layout}", language),
        percent=dataset.validation_percent,
        seed=dataset.seed,
    )
    return (
        f'<a class="mbe-back" href="/{language}/studio/data">← {t("studio.back_to_list", language)}</a>'
        f'<h1>{escape(dataset.name)}</h1>{counts}<p class="mbe-muted">{escape(facts)}<br>'
        f"{t('studio.fingerprint', language)} {cards.code(dataset.fingerprint).text}</p>"
        f'<a class="mbe-button" href="/{language}/studio/train?dataset={dataset.id}">'
        f"{t('studio.train_with_this', language)}</a>"
        f"{problems(dataset.row_problems(), dataset.skipped_rows, language)}{conversations(sample, language)}"
    )
