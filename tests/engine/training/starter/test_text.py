"""The generated cases: true quotes, honest refusals, names that stay in their split."""

from random import Random

import pytest

from engine.kit.prompts import REFUSAL, grounded
from engine.training.starter.names import ZH_SUFFIXES, entity, split_of, word
from engine.training.starter.synonyms import SYNONYMS
from engine.training.starter.text import HONEST, Case, Level, Loose, case, grounded_case


def many(seed: int, split: str = "train", count: int = 300) -> list[Case]:
    rng = Random(seed)
    return [case(rng, split) for _ in range(count)]  # type: ignore[arg-type]


def test_one_seed_gives_the_same_cases_and_another_seed_gives_others() -> None:
    assert many(4) == many(4)
    assert many(4) != many(5)


def test_every_quote_stands_in_a_passage_as_the_model_sees_it() -> None:
    quotes = 0
    for one in many(6):
        seen = one.messages()[-2]["content"]
        for (_, answer), kind in zip(one.turns, one.kinds, strict=True):
            if kind == "quote":
                quotes += 1
                assert answer in seen
                assert any(answer in " ".join(passage.split()) for passage in one.passages)
    assert quotes > 200


def test_no_two_different_quotes_answer_the_same_question() -> None:
    for one in many(7):
        answers: dict[str, str] = {}
        for question, answer in one.turns:
            assert answers.setdefault(question, answer) == answer


def test_refusals_are_in_the_language_of_the_passages_and_about_one_answer_in_seven() -> None:
    kinds = [kind for one in many(8, count=1500) for kind in one.kinds]
    assert 0.10 < kinds.count("refusal") / len(kinds) < 0.25
    for one in many(8):
        for (_, answer), kind in zip(one.turns, one.kinds, strict=True):
            if kind == "refusal":
                assert answer == REFUSAL[one.language]
            if kind == "no passages":
                assert answer == HONEST[one.language] and not one.passages


def test_a_refused_question_shares_its_thing_and_attribute_with_no_sentence() -> None:
    """A refused question is never one that a quote of the same case answers."""
    for one in many(9, count=600):
        quoted = {q for (q, _), kind in zip(one.turns, one.kinds, strict=True) if kind == "quote"}
        refused = {q for (q, _), kind in zip(one.turns, one.kinds, strict=True) if kind == "refusal"}
        assert not quoted & refused


def test_messages_are_in_the_layout_of_the_product() -> None:
    for one in many(10, count=50):
        chat = one.messages()
        asked = [{"role": "user", "content": q} for q, _ in one.turns]
        assert [m for m in chat if m["role"] == "user"] == [
            m for m in grounded(asked, one.passages) if m["role"] == "user"
        ]
        assert chat[0]["content"].startswith(one.system)
        assert [m["role"] for m in chat if m["role"] != "system"] == ["user", "assistant"] * len(one.turns)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_held_out_words_never_occur_in_training(language: str) -> None:
    rng = Random(11)
    trained = {word(rng, language, "train") for _ in range(3000)}  # type: ignore[arg-type]
    held_out = {word(rng, language, "held_out") for _ in range(3000)}  # type: ignore[arg-type]
    assert not trained & held_out
    assert {split_of(name) for name in held_out} == {"held_out"}


def test_an_entity_carries_a_word_of_its_split() -> None:
    rng = Random(12)
    for _ in range(200):
        name = entity(rng, "zh", "held_out")
        stem = next((name.removesuffix(s) for s in ZH_SUFFIXES if name.endswith(s)), name)
        assert split_of(stem) == "held_out" or split_of(name) == "held_out"


@pytest.mark.parametrize("wrong", [{"passages": 0}, {"turns": 0}, {"refusals": 1.5}, {"single": -0.1}])
def test_a_level_names_only_what_is_possible(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        Level(**wrong)  # type: ignore[arg-type]


def test_no_sentence_of_loose_words_holds_the_own_word_of_another_or_its_synonym() -> None:
    for seed in range(100):
        loose = Loose(Random(seed), "en", "train")
        for _ in range(8):
            loose.sentence()
        for number, (_, own) in enumerate(loose.made):
            alike = {own, *SYNONYMS["en"].get(own, ())}
            others = [words for other, (words, _) in enumerate(loose.made) if other != number]
            assert not any(alike.intersection(words) for words in others)


def test_some_questions_name_a_word_of_the_answer_by_a_synonym_alone() -> None:
    asked_otherwise = 0
    for seed in range(200):
        loose = Loose(Random(seed), "zh", "train")
        said = loose.sentence()
        _, own = loose.made[0]
        question = said.questions[0]
        asked_otherwise += own not in question
        assert own in question or any(other in question for other in SYNONYMS["zh"][own])
    assert asked_otherwise > 10


def test_a_level_can_ask_for_a_fewest_number_of_passages() -> None:
    rng = Random(12)
    level = Level(fewest=3, passages=5, sentences=1, turns=1)
    counts = {len(grounded_case(rng, "train", level, "en").passages) for _ in range(100)}
    assert counts == {3, 4, 5}
    with pytest.raises(ValueError):
        Level(fewest=4, passages=3)
