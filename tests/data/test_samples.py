"""The sample material holds what its README promises, and no answer strays from the documents."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from engine.kit.prompts import REFUSAL, Language, detect_language

SAMPLES = Path(__file__).parents[2] / "data" / "samples"
LANGUAGES: tuple[Language, ...] = ("en", "zh")
both_languages = pytest.mark.parametrize("language", LANGUAGES)


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (SAMPLES / name).read_text(encoding="utf-8").splitlines()]


def documents(language: Language) -> dict[str, str]:
    folder = SAMPLES / "knowledge" / language
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def said(language: Language, role: str) -> list[str]:
    dialogues = rows(f"dialogues.{language}.jsonl")
    return [m["content"] for row in dialogues for m in row["messages"] if m["role"] == role]


def positions_by_fact(language: Language) -> dict[str, list[int]]:
    """Where in the file each fact of the one-turn dialogues is asked."""
    positions: dict[str, list[int]] = defaultdict(list)
    for n, row in enumerate(rows(f"dialogues.{language}.jsonl")):
        answer = row["messages"][-1]["content"]
        if len(row["messages"]) == 2 and answer != REFUSAL[language]:
            positions[answer].append(n)
    return positions


@both_languages
def test_the_knowledge_base_has_the_promised_size(language: Language) -> None:
    found = documents(language)
    assert sorted(Path(name).suffix for name in found) == [".md"] * 11 + [".txt"]
    text = "\n".join(found.values())
    length, least, most = (
        (len(text.split()), 9_000, 11_000) if language == "en" else (len(text), 16_000, 20_000)
    )
    assert least <= length <= most


@both_languages
def test_a_document_is_written_in_the_language_of_its_folder(language: Language) -> None:
    assert {detect_language(text) for text in documents(language).values()} == {language}


@both_languages
def test_dialogues_alternate_and_end_with_an_answer(language: Language) -> None:
    for row in rows(f"dialogues.{language}.jsonl"):
        assert set(row) == {"messages"}
        roles = [m["role"] for m in row["messages"]]
        assert roles in (["user", "assistant"], ["user", "assistant"] * 2)
        assert all(m["content"] == m["content"].strip() != "" for m in row["messages"])


@both_languages
def test_every_answer_stands_in_the_documents_or_is_the_refusal(language: Language) -> None:
    texts = documents(language).values()
    answers = [a for a in said(language, "assistant") if a != REFUSAL[language]]
    assert [a for a in answers if not any(a in text for text in texts)] == []
    lengths = {len(a.split()) if language == "en" else len(a) for a in answers}
    least, most = (5, 25) if language == "en" else (20, 120)
    assert least <= min(lengths) and max(lengths) <= most


@both_languages
def test_counts_of_the_dialogues_match_the_readme(language: Language) -> None:
    dialogues = rows(f"dialogues.{language}.jsonl")
    assert len(dialogues) == {"en": 224, "zh": 228}[language]
    assert len(positions_by_fact(language)) == 55
    assert sum(len(row["messages"]) == 4 for row in dialogues) == 5
    assert said(language, "assistant").count(REFUSAL[language]) == 10


@both_languages
def test_no_question_is_asked_twice(language: Language) -> None:
    asked = said(language, "user")
    assert len(asked) == len(set(asked))


@both_languages
def test_a_tenth_of_the_rows_never_holds_every_phrasing_of_a_fact(language: Language) -> None:
    tenth = len(rows(f"dialogues.{language}.jsonl")) // 10 + 1
    for answer, where in positions_by_fact(language).items():
        assert 3 <= len(where) <= 4, answer
        assert max(where) - min(where) > tenth, answer


@both_languages
def test_a_gold_span_stands_in_the_document_it_names(language: Language) -> None:
    found = documents(language)
    questions = rows(f"questions.{language}.jsonl")
    assert all(set(row) == {"question", "gold", "document"} for row in questions)
    answered = [row for row in questions if row["gold"] is not None]
    assert len(answered) == 40
    assert [row for row in answered if row["gold"] not in found[row["document"]]] == []


@both_languages
def test_questions_without_an_answer_name_no_document(language: Language) -> None:
    open_questions = [row for row in rows(f"questions.{language}.jsonl") if row["gold"] is None]
    assert len(open_questions) == 8
    assert {row["document"] for row in open_questions} == {None}


@both_languages
def test_test_questions_are_kept_out_of_the_dialogues(language: Language) -> None:
    asked = [row["question"] for row in rows(f"questions.{language}.jsonl")]
    assert len(asked) == len(set(asked))
    assert set(asked).isdisjoint(said(language, "user"))
